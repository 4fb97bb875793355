//! Records of CSV, as RFC 4180 has them.

use super::Record;

pub(super) fn write(record: &Record<'_>) -> Vec<u8> {
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let cells = [
        Some(record.custom_id.to_string()),
        text(&record.text),
        text(&record.error),
        text(&record.error_code),
        text(&record.error_scope),
        record.cost_usd.map(|usd| usd.to_string()),
        number(record.prompt_tokens),
        number(record.completion_tokens),
        text(&record.finish_reason),
        text(&record.model),
        text(&record.provider),
        text(&record.key),
        number(Some(record.attempts)),
        number(record.status),
        text(&record.request_id),
        text(&record.file),
        number(Some(record.line)),
    ];
    let mut line = Vec::new();
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        if let Some(cell) = cell {
            quote(&cell, &mut line);
        }
    }
    line.push(b'\n');
    line
}

fn quote(cell: &str, line: &mut Vec<u8>) {
    let is_plain = |byte: u8| !matches!(byte, b'"' | b',' | b'\n' | b'\r');
    if !cell.is_empty() && cell.trim() == cell && cell.bytes().all(is_plain) {
        line.extend_from_slice(cell.as_bytes());
        return;
    }
    line.push(b'"');
    for byte in cell.bytes() {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}
