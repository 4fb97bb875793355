//! What the gateway says itself, in the caller's own format.

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
