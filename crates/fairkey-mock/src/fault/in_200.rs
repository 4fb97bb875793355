//! What fails after a provider has begun: the status is 200 all the same.

use super::{Fault, Place};

impl Fault {
    /// A 200 whose body is nothing but an error object (on a stream: one bare error chunk).
    pub fn error_in_200() -> Self {
        Self::named("error_in_200", 502, "JSON error injected into SSE stream")
            .metadata("error_type", "provider_unavailable")
            .in_200()
    }

    /// A 200 with partial content whose choice ends in `finish_reason: "error"` and an `error`.
    pub fn choice_error_in_200() -> Self {
        Self::named(
            "choice_error_in_200",
            502,
            "Provider disconnected mid-stream",
        )
        .metadata("error_type", "provider_unavailable")
        .in_choice()
    }

    /// A 200 whose choice ends in `finish_reason: "error"` with nothing but a
    /// `native_finish_reason`.
    pub fn native_finish_error() -> Self {
        let mut fault = Self::named("native_finish_error", 502, "");
        fault.0.place = Place::NativeFinish {
            native: "MALFORMED_FUNCTION_CALL".to_owned(),
            after: 2,
        };
        fault
    }

    /// An error chunk after `chunks` chunks of content, with a typed 429.
    pub fn mid_stream_rate_limit(chunks: usize) -> Self {
        Self::named("mid_stream_rate_limit", 429, "Rate limit exceeded")
            .metadata("error_type", "rate_limit_exceeded")
            .after_chunks(chunks)
    }

    /// An error chunk after `chunks` chunks of content, whose code is a string.
    pub fn mid_stream_server_error(chunks: usize) -> Self {
        Self::named(
            "mid_stream_server_error",
            502,
            "Provider disconnected unexpectedly",
        )
        .string_code("server_error")
        .after_chunks(chunks)
    }
}
