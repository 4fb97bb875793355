//! What the gateway says itself, in the caller's own format.
//!
//! | module | has |
//! | --- | --- |
//! | `reason` | every way a call can fail here: its status, its typed names in each format |
//! | `failure` | one such failure: [`Failure`], from what the client or the gateway found |
//! | `shape` | the bodies and the events, in each format |
//!
//! Two rules decide what a caller is told. A refusal that concerns the operator's keys, accounts
//! or balance is never handed on: the caller would read a 401 or 402 as its own. It becomes a 503,
//! or a 429 where waiting cures it. Everything else that the upstream said passes as it is.

mod failure;
mod reason;
mod shape;

pub use failure::{Failure, MAX_RETRY_WAIT, Origin};
pub use reason::Reason;
pub use shape::BrokenStream;

/// The format that a caller speaks: that of the endpoint it called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenRouter's own: chat completions and whatever has no format of its own.
    #[default]
    Chat,
    /// Anthropic Messages.
    Messages,
    /// OpenAI Responses.
    Responses,
}

#[cfg(test)]
mod tests;
