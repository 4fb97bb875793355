//! Unknown names in `provider` may be refused: they go through `with`, not in as any JSON.

use fairkey_openrouter::ChatRequest;

fn main() {
    let _ = ChatRequest::new("a/b").provider(serde_json::json!({"oder": ["x"]}));
}
