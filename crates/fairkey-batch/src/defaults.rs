//! What lines lack: [`Defaults`].

use crate::Settings;

/// Fills in what a line does not say itself. What a line says stays as it is, but for what
/// [`settings`](Self::settings) replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defaults {
    /// The model of requests that name neither `model` nor `models`. Default: none, which leaves
    /// the choice to the account's settings upstream.
    pub model: Option<String>,
    /// The system message of chats that have neither a system nor a developer message; where
    /// another endpoint has a field for it, that field. Default: none.
    pub system: Option<String>,
    /// The `max_tokens` of chats that set neither it nor `max_completion_tokens`; where another
    /// endpoint has a field for it, that field. Default: none.
    pub max_tokens: Option<u64>,
    /// Any other fields. Default: none.
    pub settings: Settings,
}
