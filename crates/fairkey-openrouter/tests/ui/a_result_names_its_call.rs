//! The result of a tool is a result of something.

use fairkey_openrouter::Message;

fn main() {
    let _ = Message::tool("21 °C");
}
