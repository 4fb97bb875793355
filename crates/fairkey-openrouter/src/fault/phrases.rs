//! Meaning in prose: the last resort, where no typed field says it.
//!
//! Messages change without notice. Each phrase here was seen in real answers, is searched for
//! without regard to case, and decides only what status and typed fields leave open.

use std::time::Duration;

use crate::date;
use crate::fault::retry_after::{RetryHint, parse_reset_stamp, parse_retry_after, seconds};
use crate::key_info::ResetInterval;

/// A message in lower case, ready to be searched.
#[derive(Debug)]
pub(crate) struct Phrases(String);

impl Phrases {
    pub(crate) fn new(message: &str) -> Self {
        Self(message.to_ascii_lowercase())
    }

    /// No words at all: what would be read without them.
    pub(crate) fn none() -> Self {
        Self(String::new())
    }

    pub(crate) fn has(&self, phrase: &str) -> bool {
        self.0.contains(phrase)
    }

    pub(crate) fn has_any(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.has(phrase))
    }

    /// The request is too large for what there is.
    pub(crate) fn is_too_big(&self) -> bool {
        self.has_any(&[
            "can only afford",
            "fewer max_tokens",
            "prompt tokens limit exceeded",
        ])
    }

    /// The cap of the key is what is too small.
    pub(crate) fn names_key_limit(&self) -> bool {
        self.has_any(&["key limit exceeded", "create a key with a higher"])
    }

    /// The content is what is refused.
    pub(crate) fn is_about_content(&self) -> bool {
        self.has_any(&[
            "content policy",
            "content_policy",
            "moderation",
            "flagged",
            "usage policies",
        ])
    }

    /// The place that the call comes from is what is refused.
    pub(crate) fn is_about_region(&self) -> bool {
        self.has_any(&["region", "country"])
    }

    /// A policy of the account is what leaves nothing.
    pub(crate) fn is_about_policy(&self) -> bool {
        self.has_any(&[
            "data policy",
            "privacy settings",
            "settings/privacy",
            "guardrail",
        ])
    }

    /// The key is past its end.
    pub(crate) fn is_about_expiry(&self) -> bool {
        self.has("key") && self.has_any(&["expired", "has expired"])
    }

    /// The key is turned off.
    pub(crate) fn is_about_disabling(&self) -> bool {
        self.has("key") && self.has_any(&["disabled", "deactivated"])
    }

    /// The prompt is too long for the model.
    pub(crate) fn is_too_long(&self) -> bool {
        self.has_any(&[
            "context length",
            "context window",
            "maximum context",
            "too many tokens",
        ])
    }

    /// The interval after which a spent cap or budget starts anew: `Some(None)` where the message
    /// says that it never does.
    pub(crate) fn interval(&self) -> Option<Option<ResetInterval>> {
        const WORDS: [(&str, Option<ResetInterval>); 5] = [
            ("daily", Some(ResetInterval::Daily)),
            ("weekly", Some(ResetInterval::Weekly)),
            ("monthly", Some(ResetInterval::Monthly)),
            ("total", None),
            ("lifetime", None),
        ];
        // "(daily limit)", "a higher daily limit", "Workspace monthly budget".
        WORDS.iter().find_map(|(word, interval)| {
            let named = [" limit", " budget"]
                .iter()
                .any(|noun| self.has(&format!("{word}{noun}")));
            named.then(|| interval.clone())
        })
    }

    /// How many tokens the money would pay for: "but can only afford 4321".
    pub(crate) fn affordable_tokens(&self) -> Option<u64> {
        let (_, rest) = self.0.split_once("can only afford ")?;
        let digits: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == ',')
            .collect();
        digits.replace(',', "").parse().ok()
    }

    /// When the message says to try again: how long to wait ("Retry after 40 seconds", "try again
    /// in 1m30s"), or until when ("resets at 2026-11-01T00:00:00Z").
    pub(crate) fn when(&self) -> RetryHint {
        const LEADS: [&str; 17] = [
            "retry after",
            "retry-after",
            "retry_after",
            "try again in",
            "try again after",
            "try again at",
            "retry in",
            "retry at",
            "reset in",
            "resets in",
            "reset at",
            "resets at",
            "resets on",
            "available in",
            "available again in",
            "available again at",
            "wait",
        ];
        let found = LEADS.iter().find_map(|lead| {
            self.0.match_indices(lead).find_map(|(at, _)| {
                let rest = self.0[at + lead.len()..].trim_start_matches(BEFORE_VALUE);
                // A stamp of 13 digits is no count of seconds, and "at 15" no span.
                let is_span = !lead.ends_with(" at") && !lead.ends_with(" on");
                let span = || span(rest).filter(|_| is_span).map(RetryHint::After);
                moment(rest).map(RetryHint::At).or_else(span)
            })
        });
        found.unwrap_or_default()
    }
}

/// What may stand between "retry after" and the time.
const BEFORE_VALUE: [char; 7] = [' ', ':', '~', '=', '"', '\'', '('];

/// Reads a moment: an ISO 8601 date-time, also with a space in the middle and a zone behind it, a
/// date of HTTP, or a stamp as in `X-RateLimit-Reset`.
fn moment(text: &str) -> Option<Duration> {
    let mut words = text
        .split_ascii_whitespace()
        .map(|word| word.trim_end_matches(['.', ',', ';', ')', '"', '\'', '!']));
    let (first, second) = (words.next()?, words.next().unwrap_or_default());
    let pair = format!("{first} {second}");
    // By UTC where no zone stands; "utc" and "gmt" behind it say the same.
    if let Some(at) = date::parse_iso8601(&pair).or_else(|| date::parse_iso8601(first)) {
        return Some(at);
    }
    if let Some(at) = parse_reset_stamp(first) {
        return Some(at);
    }
    // "tue, 13 oct 2026 14:01:00 gmt": names of days and months are read as HTTP writes them.
    let date: Vec<String> = text
        .split_ascii_whitespace()
        .take(6)
        .map(capitalized)
        .collect();
    match parse_retry_after(date.join(" ").trim_end_matches('.')) {
        RetryHint::At(at) => Some(at),
        _ => None,
    }
}

/// Returns `tue,` as `Tue,` and `gmt` as `GMT`.
fn capitalized(word: &str) -> String {
    if word.starts_with("gmt") {
        return word.to_ascii_uppercase();
    }
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}

/// Reads a span of time such as `40 seconds`, `1m30s`, `6.5s`, `200ms`, `40`.
fn span(text: &str) -> Option<Duration> {
    let mut total: Option<Duration> = None;
    let mut rest = text;
    loop {
        let number = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        // "…in 40. Then" ends in a dot that is none of the number.
        let (digits, after) = rest.split_at(number);
        let Some(amount) = seconds(digits.trim_end_matches('.')) else {
            break;
        };
        // A time of day or a date is no number of anything.
        if total.is_none() && after.starts_with([':', '/', '-']) {
            return None;
        }
        let after = after.strip_prefix(' ').unwrap_or(after);
        let word = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(word);
        let factor = match unit {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            // A number without a unit counts as seconds, but only on its own.
            _ if total.is_none() => 1.0,
            _ => break,
        };
        let part = Duration::try_from_secs_f64(amount.as_secs_f64() * factor).ok()?;
        total = Some(total.unwrap_or_default().saturating_add(part));
        rest = after.trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_wait(message: &str, millis: Option<u64>) {
        let hint = millis.map_or(RetryHint::Unknown, |millis| {
            RetryHint::After(Duration::from_millis(millis))
        });
        assert_eq!(Phrases::new(message).when(), hint, "{message}");
    }

    #[test]
    fn moments_are_read_from_prose() {
        let at = RetryHint::At(Duration::from_secs(1_793_491_200));
        for message in [
            "Budget exceeded. Resets at 2026-11-01T00:00:00Z.",
            "Budget exceeded, resets at: 2026-11-01T00:00:00.000Z",
            "Limit reached (resets at 2026-11-01 00:00:00 UTC)",
            "It resets on 2026-11-01.",
            "Try again at 2026-11-01T01:00:00+01:00, please",
            "Resets at 1793491200000",
            "retry after Sun, 01 Nov 2026 00:00:00 GMT.",
        ] {
            assert_eq!(Phrases::new(message).when(), at, "{message}");
        }
        for message in [
            "Resets at midnight",
            "resets at 25:00",
            "try again at once",
            "retry at ",
        ] {
            assert_eq!(
                Phrases::new(message).when(),
                RetryHint::Unknown,
                "{message}"
            );
        }
    }

    #[test]
    fn waits_are_read_from_prose() {
        check_wait(
            "All providers are at capacity. Retry after 40 seconds.",
            Some(40_000),
        );
        check_wait("Please try again in 1m30s.", Some(90_000));
        check_wait("try again in 1 minute and 5 seconds", Some(65_000));
        check_wait("Please try again in 6.5s. Visit 2 pages", Some(6_500));
        check_wait("try again in 200ms", Some(200));
        check_wait("retry after: 12", Some(12_000));
        check_wait("Retry-After: 12.", Some(12_000));
        check_wait("Try again in 2 hours", Some(7_200_000));
        check_wait("Rate limited, resets in 2 minutes", Some(120_000));
        check_wait("Please wait 30s before the next call", Some(30_000));
        check_wait("do not wait; retry in 5 s", Some(5_000));
        check_wait("\"retry_after\": 9", Some(9_000));
        check_wait("retry after 15:30", None);
        check_wait("Please try again later.", None);
        check_wait("retry after the outage of 5 seconds", None);
        check_wait("", None);
    }

    #[test]
    fn intervals_are_read_from_prose() {
        let interval = |message| Phrases::new(message).interval();
        assert_eq!(
            interval("Key limit exceeded (daily limit)."),
            Some(Some(ResetInterval::Daily))
        );
        assert_eq!(interval("Key limit exceeded (total limit)."), Some(None));
        assert_eq!(
            interval("Workspace monthly budget of $5 exceeded."),
            Some(Some(ResetInterval::Monthly))
        );
        assert_eq!(
            interval("Workspace lifetime budget of $5 exceeded."),
            Some(None)
        );
        assert_eq!(interval("Key limit exceeded."), None);
    }

    #[test]
    fn affordable_tokens_are_read_from_prose() {
        let tokens = |message| Phrases::new(message).affordable_tokens();
        assert_eq!(
            tokens("You requested up to 9000 tokens, but can only afford 1,234."),
            Some(1234)
        );
        assert_eq!(tokens("You can only afford little"), None);
        assert_eq!(tokens("can only afford 99999999999999999999999"), None);
    }
}
