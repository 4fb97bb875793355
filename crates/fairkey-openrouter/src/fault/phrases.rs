//! Meaning in prose: the last resort, where no typed field says it.
//!
//! Messages change without notice. Each phrase here was seen in real answers, is searched for
//! without regard to case, and decides only what status and typed fields leave open.

use std::time::Duration;

use crate::fault::retry_after::seconds;
use crate::key_info::ResetInterval;

/// A message in lower case, ready to be searched.
#[derive(Debug)]
pub(crate) struct Phrases(String);

impl Phrases {
    pub(crate) fn new(message: &str) -> Self {
        Self(message.to_ascii_lowercase())
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

    /// A policy of the account is what leaves nothing.
    pub(crate) fn is_about_policy(&self) -> bool {
        self.has_any(&[
            "data policy",
            "privacy settings",
            "settings/privacy",
            "guardrail",
        ])
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
        const WORDS: [(&str, Option<ResetInterval>); 4] = [
            ("daily", Some(ResetInterval::Daily)),
            ("weekly", Some(ResetInterval::Weekly)),
            ("monthly", Some(ResetInterval::Monthly)),
            ("total", None),
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

    /// How long the message asks to wait: "Retry after 40 seconds", "try again in 1m30s".
    pub(crate) fn wait(&self) -> Option<Duration> {
        const LEADS: [&str; 6] = [
            "retry after",
            "retry-after",
            "try again in",
            "try again after",
            "retry in",
            "reset in",
        ];
        LEADS.iter().find_map(|lead| {
            let (_, rest) = self.0.split_once(lead)?;
            span(rest.trim_start_matches([' ', ':', '~', '=']))
        })
    }
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
        assert_eq!(
            Phrases::new(message).wait(),
            millis.map(Duration::from_millis),
            "{message}"
        );
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
