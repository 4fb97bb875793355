//! Plans of batches.

use serde::Deserialize;
use toml::Spanned;

use super::Wrong;
use super::value::Wait;
use crate::batch::BatchPlan;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchSpec {
    end: Option<Spanned<String>>,
    message: Option<String>,
    after: Option<Wait>,
    #[serde(default)]
    failing: Vec<String>,
    failing_every: Option<u64>,
    #[serde(default)]
    shuffled: bool,
    billed: Option<u64>,
    times: Option<u64>,
    #[serde(default)]
    forever: bool,
}

pub(super) fn plan(spec: Spanned<BatchSpec>) -> Result<BatchPlan, Wrong> {
    let at = spec.span().start;
    let wrong = |message: &str| Wrong {
        at,
        message: message.to_owned(),
    };
    let spec = spec.into_inner();
    let end = spec.end.as_ref().map(|end| end.get_ref().as_str());
    if spec.message.is_some() && end != Some("failed") {
        return Err(wrong("message belongs to a batch that failed"));
    }
    let message = || {
        spec.message
            .clone()
            .unwrap_or_else(|| "The batch failed".to_owned())
    };
    let mut plan = match end {
        None | Some("completed") => BatchPlan::completes(),
        Some("failed") => BatchPlan::fails(message()),
        Some("expired") => BatchPlan::expires(),
        Some("cancelled") => BatchPlan::is_cancelled(),
        Some(_) => {
            return Err(Wrong {
                at: spec.end.map_or(at, |end| end.span().start),
                message: "a batch ends completed, failed, expired or cancelled".to_owned(),
            });
        }
    };
    if let Some(Wait(after)) = spec.after {
        plan = plan.after(after);
    }
    plan = plan
        .failing(spec.failing)
        .failing_every(spec.failing_every.unwrap_or(0))
        .billed(spec.billed.unwrap_or(0));
    if spec.shuffled {
        plan = plan.shuffled();
    }
    match (spec.times, spec.forever) {
        (Some(_), true) => Err(wrong("a batch has either times or forever")),
        (Some(times), false) => Ok(plan.times(times)),
        (None, true) => Ok(plan.forever()),
        (None, false) => Ok(plan),
    }
}
