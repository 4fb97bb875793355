//! Texts in one line each, as PostgreSQL writes them.

/// What stands for no text.
const NONE: &[u8] = b"\\N\n";

pub(super) fn write(text: Option<&str>) -> Vec<u8> {
    let Some(text) = text else {
        return NONE.to_vec();
    };
    let mut line = Vec::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            byte => line.push(byte),
        }
    }
    line.push(b'\n');
    line
}
