#![doc = include_str!("../README.md")]

mod attribution;
pub mod batch;
mod catalog;
pub mod check;
mod date;
mod embeddings;
pub mod endpoint;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod key_info;
mod lenient;
pub mod management;
pub mod media;
mod messages;
mod money;
mod open_enum;
mod open_object;
pub mod profile;
mod redaction;
mod request;
mod rerank;
mod response;
mod responses;
pub mod route;
pub mod sizing;
mod slug;
pub mod splice;
mod sse;
mod stream;
mod strict;
mod word;

pub use attribution::{
    AppAttribution, AttributionError, HTTP_REFERER, MAX_CATEGORIES, MAX_CATEGORY_CHARS,
    X_OPENROUTER_CATEGORIES, X_OPENROUTER_TITLE,
};
pub use catalog::{
    AliasTarget, Architecture, Conditions, Endpoint, Model, ModelEndpoints, ModelFilter, ModelList,
    ModelOrder, ModelReasoning, Pricing, PricingOverride, Provider, ProviderList, Statistics,
    TopProvider, ZdrEndpoints,
};
pub use date::parse_iso8601;
pub use embeddings::{
    Embedding, EmbeddingNumbers, EmbeddingsInput, EmbeddingsParts, EmbeddingsRequest,
    EmbeddingsResponse, EncodingFormat,
};
pub use fault::{
    AnswerTold, Availability, AvailabilityCode, BudgetStatus, Cause, ErrorType, Evidence, Fault,
    LimitSource, Phase, PreviousError, RateLimit, RateUnit, Remedy, RetryHint, UnknownWord,
    parse_reset_stamp, parse_retry_after,
};
pub use key_info::{BudgetScope, Credits, FreeModelRequests, KeyBudget, KeyInfo, ResetInterval};
pub use messages::{
    ContentBlock, MessagesEvent, MessagesFallback, MessagesRequest, MessagesResponse, MessagesTool,
    MessagesToolChoice, MessagesUsage, OutputConfig, StopReason, Thinking,
};
pub use money::micro_usd;
pub use request::{
    CacheControl, CacheTtl, ChatRequest, Content, ContentPart, Cutoff, DataCollection,
    DebugOptions, Effort, FunctionCall, FunctionDefinition, ImageDetail, JsonSchema, MAX_MODELS,
    MaxPrice, Message, Modality, ModelId, ModelIdError, Partition, PdfEngine, Percentiles, Plugin,
    Prediction, Price, PromptCacheOptions, ProviderPreferences, Quantization, Reasoning,
    ResponseFormat, Route, ServiceTier, Sort, SortBy, Stop, StopCondition, StreamOptions,
    SummaryVerbosity, Tool, ToolCall, ToolChoice, Trace, Variant, Verbosity,
};
pub use rerank::{
    RerankDocument, RerankParts, RerankRequest, RerankResponse, RerankResult, RerankUsage,
};
pub use response::{
    ChatChunk, ChatResponse, Choice, ChunkChoice, CompletionTokensDetails, CostDetails, Delta,
    FinishReason, PromptTokensDetails, ResponseMessage, RouterAttempt, RouterEndpoint,
    RouterEndpoints, RouterMetadata, ServerToolUse, Usage,
};
pub use responses::{
    InputItem, OutputItem, ResponsesEvent, ResponsesInput, ResponsesRequest, ResponsesResponse,
    ResponsesTool, ResponsesUsage, TextOptions,
};
pub use slug::provider_slug;
pub use sse::{DEFAULT_LIMIT_BYTES, SseError, SseEvent, SseMessage, SseParser};
pub use stream::{ChatStreamReader, EventFormat, EventItem, EventStreamReader, StreamItem};
