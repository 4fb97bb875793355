//! What lines lack: [`Defaults`].

/// Fills in what a line does not say itself. What a line says stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defaults {
    /// The model of requests that name neither `model` nor `models`. Default: none, which leaves
    /// the choice to the account's settings upstream.
    pub model: Option<String>,
    /// The system message of chats that have neither a system nor a developer message. Default:
    /// none.
    pub system: Option<String>,
    /// The `max_tokens` of chats that set neither it nor `max_completion_tokens`. Default: none.
    pub max_tokens: Option<u64>,
}
