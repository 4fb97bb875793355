//! One line of the log, written as JSON without a serializer: it is written for every request.

use std::time::Duration;

use crate::End;
use crate::record::CallRecord;

/// The longest text of a caller's or of the upstream's that is kept, in bytes.
pub(super) const MAX_TEXT: usize = 128;

/// Room for one line after the other.
#[derive(Debug)]
pub(super) struct Room {
    bytes: Vec<u8>,
    /// What the line begins with, in bytes, and for how long it holds: lines of one second begin
    /// alike.
    begin: usize,
    second: Option<u64>,
}

impl Room {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            begin: 0,
            second: None,
        }
    }

    /// Returns the line of a request that ended `now` after the beginning of 1970.
    pub(super) fn write(&mut self, call: &CallRecord<'_>, now: Duration) -> &[u8] {
        let second = now.as_secs();
        if self.second == Some(second) {
            self.bytes.truncate(self.begin);
        } else {
            self.bytes.clear();
            self.bytes.extend_from_slice(b"{\"time\":\"");
            Line(&mut self.bytes).second(second);
            (self.begin, self.second) = (self.bytes.len(), Some(second));
        }
        let mut line = Line(&mut self.bytes);
        line.digits(now.subsec_millis().into(), 3);
        line.0.extend_from_slice(b"Z\"");
        write(line, call);
        &self.bytes
    }
}

/// Writes the rest of the line of one request, behind its time.
fn write(mut line: Line<'_>, call: &CallRecord<'_>) {
    let fault = call.attempts.iter().rev().find_map(|attempt| attempt.fault);
    let account = call.attempts.last().and_then(|last| last.account.as_ref());
    line.text(",\"request_id\":", cut(call.request_id));
    line.text(",\"tenant\":", call.tenant);
    line.text(",\"method\":", cut(call.method));
    line.word(",\"operation\":", call.operation);
    line.text_if(",\"model\":", call.model.map(cut));
    let stream = if call.is_stream { "true" } else { "false" };
    line.plain(",\"stream\":", stream);
    line.number(",\"status\":", call.status.into());
    if let Some(reason) = call.reason {
        line.word(",\"reason\":", reason.as_str());
    }
    if let Some(how) = call.end {
        line.word(",\"end\":", end(how));
    }
    line.text_if(",\"key\":", call.key_label());
    line.text_if(",\"account\":", account.map(|account| account.as_str()));
    line.number(",\"attempts\":", call.attempts.len() as u64);
    // Whom the last attempt that failed was charged to.
    if let Some(fault) = fault {
        line.word(",\"fault\":", fault.scope.as_str());
    }
    line.ms(",\"queued_ms\":", call.queued);
    if let Some(first_content) = call.first_content {
        line.ms(",\"first_content_ms\":", first_content);
    }
    line.ms(",\"total_ms\":", call.total);
    if let Some(used) = call.used {
        line.number(",\"tokens\":", used.tokens);
        line.fraction(",\"usd\":", used.micro_usd, 6);
    }
    line.text_if(",\"generation\":", call.generation.map(cut));
    line.number(",\"bytes_in\":", call.bytes_in);
    line.number(",\"bytes_out\":", call.bytes_out);
    line.0.extend_from_slice(b"}\n");
}

/// Returns as much of a text that somebody else chose as is kept.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// Returns the word for how an answer ended.
pub(crate) const fn end(end: End) -> &'static str {
    match end {
        End::Whole => "whole",
        End::Failed => "failed",
        End::Broken => "broken",
        End::Left => "left",
        End::Drained => "drained",
    }
}

/// Which bytes cannot stand in a string of JSON as they are.
static IS_ODD: [bool; 256] = {
    let mut is_odd = [false; 256];
    let mut byte = 0;
    while byte < b' ' as usize {
        is_odd[byte] = true;
        byte += 1;
    }
    is_odd[b'"' as usize] = true;
    is_odd[b'\\' as usize] = true;
    is_odd
};

struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    fn plain(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(value.as_bytes());
    }

    /// A word of ours, of which it is known that it can stand in a text as it is.
    fn word(&mut self, name: &str, word: &'static str) {
        self.0.extend_from_slice(name.as_bytes());
        self.quoted(word);
    }

    fn quoted(&mut self, text: &str) {
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    fn text_if(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.0.extend_from_slice(name.as_bytes());
        // All of them without a look at the outcome: that is quicker.
        let odd = |has_odd, byte: u8| has_odd | IS_ODD[usize::from(byte)];
        let has_odd = text.bytes().fold(false, odd);
        if !has_odd {
            self.quoted(text);
        } else {
            // Every text can be a string of JSON, and a vector takes all of it.
            let _ = serde_json::to_writer(&mut *self.0, text);
        }
    }

    fn number(&mut self, name: &str, number: u64) {
        self.0.extend_from_slice(name.as_bytes());
        self.digits(number, 1);
    }

    /// Milliseconds, to the microsecond.
    fn ms(&mut self, name: &str, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.fraction(name, micros, 3);
    }

    /// A number of parts, of which ten to the power of `places` are one.
    fn fraction(&mut self, name: &str, parts: u64, places: u32) {
        let one = 10_u64.pow(places);
        self.number(name, parts / one);
        self.0.push(b'.');
        let begin = self.0.len() + 1;
        self.digits(parts % one, places as usize);
        while self.0.len() > begin && self.0.last() == Some(&b'0') {
            self.0.pop();
        }
    }

    /// A number of at least so many digits.
    fn digits(&mut self, mut number: u64, at_least: usize) {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 || digits.len() - at < at_least {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.0.extend_from_slice(&digits[at..]);
    }

    /// A second since 1970 as RFC 3339 writes it, up to the dot.
    fn second(&mut self, seconds: u64) {
        let (year, month, day) = crate::tenant::date(seconds / 86_400);
        let parts = [
            (year, 4, b'-'),
            (month, 2, b'-'),
            (day, 2, b'T'),
            (seconds / 3_600 % 24, 2, b':'),
            (seconds / 60 % 60, 2, b':'),
            (seconds % 60, 2, b'.'),
        ];
        for (number, digits, end) in parts {
            self.digits(number, digits);
            self.0.push(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Used;
    use crate::reply::Reason;

    fn line(call: &CallRecord<'_>) -> Value {
        let mut room = Room::new();
        let line = room.write(call, Duration::from_millis(1_735_732_800_250));
        serde_json::from_slice(line.strip_suffix(b"\n").unwrap()).unwrap()
    }

    #[test]
    fn each_line_has_its_own_time() {
        let mut room = Room::new();
        for (millis, time) in [
            (1_735_732_800_250, "2025-01-01T12:00:00.250Z"),
            (1_735_732_800_999, "2025-01-01T12:00:00.999Z"),
            (1_735_732_801_000, "2025-01-01T12:00:01.000Z"),
            // A clock that was put back.
            (1_735_732_800_007, "2025-01-01T12:00:00.007Z"),
            (0, "1970-01-01T00:00:00.000Z"),
        ] {
            let line = room.write(&CallRecord::default(), Duration::from_millis(millis));
            let line: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(line["time"], time);
        }
    }

    #[test]
    fn every_text_is_a_string_of_json() {
        for byte in 0..128_u8 {
            let text = format!("a{}b", char::from(byte));
            let call = CallRecord {
                model: Some(&text),
                ..CallRecord::default()
            };
            assert_eq!(line(&call)["model"], text);
        }
    }

    #[test]
    fn a_line_is_json_of_what_is_known() {
        let call = CallRecord {
            request_id: "r1",
            tenant: "team-ü",
            method: "POST",
            operation: "chat",
            model: Some("a/b\n{\"forged\":1}\\"),
            is_stream: true,
            status: 429,
            reason: Some(Reason::OverRate),
            end: Some(End::Left),
            queued: Duration::from_millis(3),
            first_content: Some(Duration::from_nanos(310_500_999)),
            total: Duration::from_micros(1_204_700),
            used: Some(Used {
                tokens: 92,
                micro_usd: 1_000_120,
            }),
            generation: Some("gen-1"),
            bytes_in: 812,
            bytes_out: u64::MAX,
            ..CallRecord::default()
        };
        assert_eq!(
            line(&call),
            json!({
                "time": "2025-01-01T12:00:00.250Z", "request_id": "r1", "tenant": "team-ü",
                "method": "POST", "operation": "chat", "model": "a/b\n{\"forged\":1}\\",
                "stream": true, "status": 429, "reason": "over_rate", "end": "left",
                "attempts": 0, "queued_ms": 3.0, "first_content_ms": 310.5, "total_ms": 1204.7,
                "tokens": 92, "usd": 1.00012, "generation": "gen-1", "bytes_in": 812,
                "bytes_out": u64::MAX,
            })
        );
    }

    #[test]
    fn what_is_not_known_is_not_there() {
        assert_eq!(
            line(&CallRecord::default()),
            json!({
                "time": "2025-01-01T12:00:00.250Z", "request_id": "", "tenant": "", "method": "",
                "operation": "", "stream": false, "status": 0, "attempts": 0, "queued_ms": 0.0,
                "total_ms": 0.0, "bytes_in": 0, "bytes_out": 0,
            })
        );
    }

    #[test]
    fn small_money_keeps_its_zeros() {
        let used = |micro_usd| CallRecord {
            used: Some(Used {
                tokens: 0,
                micro_usd,
            }),
            ..CallRecord::default()
        };
        for (micro, usd) in [(0, 0.0), (1, 0.000_001), (43, 0.000_043), (50_000, 0.05)] {
            assert_eq!(line(&used(micro))["usd"], usd);
        }
    }
}
