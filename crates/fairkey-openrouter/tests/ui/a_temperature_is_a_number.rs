//! Settings have the type that OpenRouter documents.

use fairkey_openrouter::ChatRequest;

fn main() {
    let _ = ChatRequest::new("a/b").temperature("hot");
}
