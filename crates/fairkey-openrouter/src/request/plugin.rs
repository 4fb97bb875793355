//! Plugins of OpenRouter.

use serde_json::json;

use crate::open_enum::open_enum;
use crate::open_object::open_object;

open_object! {
    /// A plugin, by its `id`, with its options.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, Plugin};
    ///
    /// let auto = Plugin::auto_router().allowed_models(["anthropic/*", "openai/*"]);
    /// let request = ChatRequest::new("openrouter/auto").user("Hi").plugin(auto);
    /// # assert_eq!(serde_json::to_value(&request).unwrap()["plugins"][0]["id"], "auto-router");
    /// ```
    pub struct Plugin as in "Plugin::new(\"a-plugin\")" {
        @fixed {
            /// Which plugin.
            pub id: String,
        }

        /// Whether it is on; to switch off what the account has on. Default: true.
        enabled: value bool = false => false;
        /// `auto-router`, `auto-beta-router`: the models to choose among, with `*` for anything.
        allowed_models: list String = ["openai/*"] => ["openai/*"];
        /// `auto-router`, `auto-beta-router`: the models not to choose.
        excluded_models: list String = ["a/b"] => ["a/b"];
        /// `auto-router`, `auto-beta-router`: from 0, the best, to 10, the cheapest.
        cost_quality_tradeoff: value u64 = 7 => 7;
        /// `auto-router`, `auto-beta-router`: how dear models may be, `low` to `max`.
        cost_tier: into String = "medium" => "medium";
        /// `auto-router`: whether a conversation stays with the model that was chosen first.
        pin_model: value bool = true => true;
        /// `context-compression`: how, `middle-out`. `web`: which search engine.
        engine: into String = "middle-out" => "middle-out";
        /// `web`: the most results of a search.
        max_results: value u64 = 3 => 3;
        /// `web`, `web-fetch`: how often it may be used in a call.
        max_uses: value u64 = 2 => 2;
        /// `web-fetch`: the only domains.
        allowed_domains: list String = ["example.com"] => ["example.com"];
        /// `web-fetch`: domains that are left out.
        blocked_domains: list String = ["example.com"] => ["example.com"];
        /// `web-fetch`: the most tokens of a page.
        max_content_tokens: value u64 = 5_000 => 5000;
        /// `web`: the only domains.
        include_domains: list String = ["example.com"] => ["example.com"];
        /// `web`: domains that are left out.
        exclude_domains: list String = ["example.com"] => ["example.com"];
        /// `web`: what introduces the results to the model.
        search_prompt: into String = "The web says:" => "The web says:";
        /// `pareto-router`: the least score at programming, 0 to 1.
        min_coding_score: value f64 = 0.5 => 0.5;
        /// `pareto-router`: the most to pay, in US dollars per million tokens.
        max_price: value f64 = 2.5 => 2.5;
        /// `pareto-router`: which price, `prompt` or `weighted_avg`.
        price_source: into String = "prompt" => "prompt";
        /// `fusion`: the models that are asked, 1 to 8.
        analysis_models: list String = ["a/b", "c/d"] => ["a/b", "c/d"];
        /// `fusion`: the model that makes one answer of theirs.
        model: into String = "a/b" => "a/b";
        /// `fusion`: `general-high`, `general-budget` or `general-fast`.
        preset: into String = "general-fast" => "general-fast";
        /// `fusion`: the most calls of tools, 1 to 16.
        max_tool_calls: value u64 = 4 => 4;
    }
}

impl Plugin {
    /// Returns a plugin by its `id`.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            ..Self::default()
        }
    }

    /// Chooses the model of `openrouter/auto`.
    #[must_use]
    pub fn auto_router() -> Self {
        Self::new("auto-router")
    }

    /// Chooses the model of `openrouter/auto-beta`.
    #[must_use]
    pub fn auto_beta_router() -> Self {
        Self::new("auto-beta-router")
    }

    /// Chooses the model of the pareto router.
    #[must_use]
    pub fn pareto_router() -> Self {
        Self::new("pareto-router")
    }

    /// Asks several models and makes one answer of theirs.
    #[must_use]
    pub fn fusion() -> Self {
        Self::new("fusion")
    }

    /// Refuses what a moderation finds objectionable.
    #[must_use]
    pub fn moderation() -> Self {
        Self::new("moderation")
    }

    /// Searches the web. Deprecated in favor of the tool `openrouter:web_search`.
    #[must_use]
    pub fn web() -> Self {
        Self::new("web")
    }

    /// Fetches pages.
    #[must_use]
    pub fn web_fetch() -> Self {
        Self::new("web-fetch")
    }

    /// Makes text of files.
    ///
    /// ```
    /// use fairkey_openrouter::{PdfEngine, Plugin};
    ///
    /// let json = serde_json::to_value(Plugin::file_parser(PdfEngine::CloudflareAi))?;
    /// assert_eq!(json["pdf"]["engine"], "cloudflare-ai");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn file_parser(pdf: impl Into<PdfEngine>) -> Self {
        Self::new("file-parser").with("pdf", json!({ "engine": pdf.into() }))
    }

    /// Repairs broken JSON of answers with a response format; of answers that are not streamed
    /// only.
    #[must_use]
    pub fn response_healing() -> Self {
        Self::new("response-healing")
    }

    /// Leaves out the middle of a prompt that is too long. On by default for endpoints with a
    /// context of at most 8192 tokens.
    #[must_use]
    pub fn context_compression() -> Self {
        Self::new("context-compression")
    }
}

open_enum! {
    /// What makes text of PDF files.
    pub enum PdfEngine {
        /// Optical character recognition, paid by the page. The default where the model itself
        /// does not read files.
        MistralOcr = "mistral-ocr",
        /// Free.
        CloudflareAi = "cloudflare-ai",
        /// The model itself.
        Native = "native",
    }
}
