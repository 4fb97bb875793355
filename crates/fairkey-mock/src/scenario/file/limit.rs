//! Limits in files.

use serde::Deserialize;
use toml::Spanned;

use super::Wrong;
use super::value::Wait;
use crate::limit::Limit;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitSpec {
    requests: Option<u64>,
    tokens: Option<u64>,
    in_flight: Option<u32>,
    per: Option<Wait>,
    model: Option<String>,
    #[serde(default)]
    each_model: bool,
    #[serde(default)]
    counts_refused: bool,
    #[serde(default)]
    hidden: bool,
}

/// A limit that stands somewhere in the file.
pub(super) trait Placed {
    fn limit(self) -> Result<Limit, Wrong>;
}

impl Placed for Spanned<LimitSpec> {
    fn limit(self) -> Result<Limit, Wrong> {
        let at = self.span().start;
        self.into_inner().at(at)
    }
}

impl LimitSpec {
    /// The limit; what is wrong with it is wrong at this byte.
    pub(super) fn at(self, at: usize) -> Result<Limit, Wrong> {
        let wrong = |message: &str| Wrong {
            at,
            message: message.to_owned(),
        };
        let per = self.per.map(|Wait(per)| per);
        if per.is_some_and(|per| per.is_zero()) {
            return Err(wrong("a window must have a length"));
        }
        let limit = match (self.requests, self.tokens, self.in_flight, per) {
            (Some(limit), None, None, Some(per)) => Limit::requests(limit, per),
            (None, Some(limit), None, Some(per)) => Limit::tokens(limit, per),
            (None, None, Some(limit), None) => Limit::in_flight(limit),
            _ => {
                return Err(wrong(
                    "a limit needs requests or tokens with per, or in_flight without it",
                ));
            }
        };
        let limit = match (self.model, self.each_model) {
            (Some(_), true) => return Err(wrong("a limit has either model or each_model")),
            (Some(model), false) => limit.of_model(model),
            (None, true) => limit.each_model(),
            (None, false) => limit,
        };
        let limit = if self.counts_refused {
            limit.counts_refused()
        } else {
            limit
        };
        Ok(if self.hidden { limit.hidden() } else { limit })
    }
}
