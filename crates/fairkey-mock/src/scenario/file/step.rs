//! Steps of scripts.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::Wrong;
use super::value::Wait;
use crate::fault::Fault;
use crate::reply::Reply;
use crate::script::Step;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepSpec {
    fault: Option<Spanned<String>>,
    retry_after: Option<Wait>,
    reply: Option<ReplySpec>,
    #[serde(default)]
    pass: bool,
    #[serde(default)]
    reset_before_head: bool,
    #[serde(default)]
    close_before_head: bool,
    #[serde(default)]
    stall_before_head: bool,
    reset_after_chunks: Option<usize>,
    cut_after_chunks: Option<usize>,
    truncate_after_chunks: Option<usize>,
    stall_after_chunks: Option<usize>,
    drip: Option<DripSpec>,
    comments: Option<usize>,
    #[serde(default)]
    crlf: bool,
    #[serde(default)]
    usage_beside_finish: bool,
    delay: Option<Wait>,
    times: Option<u64>,
    #[serde(default)]
    forever: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplySpec {
    status: Spanned<u16>,
    content_type: Option<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DripSpec {
    bytes: usize,
    every: Wait,
}

pub(super) fn step(spec: Spanned<StepSpec>) -> Result<Step, Wrong> {
    let at = spec.span().start;
    let wrong = |message: &str| Wrong {
        at,
        message: message.to_owned(),
    };
    let spec = spec.into_inner();
    if spec.retry_after.is_some() && spec.fault.is_none() {
        return Err(wrong("retry_after belongs to a fault"));
    }
    let reply = match (spec.fault, spec.reply) {
        (Some(_), Some(_)) => return Err(wrong("a step has either a fault or a reply")),
        (Some(name), None) => {
            let fault = Fault::sample(name.get_ref()).ok_or_else(|| {
                Wrong::at(&name, format!("no fault is named {:?}", name.get_ref()))
            })?;
            let fault = match spec.retry_after {
                Some(Wait(after)) => fault.without_headers().retry_after(after),
                None => fault,
            };
            Some(Step::reply(fault))
        }
        (None, Some(reply)) => Some(Step::reply(reply.reply()?)),
        (None, None) => None,
    };
    let flag = |set: bool, step: fn() -> Step| set.then(step);
    let whole = [
        reply,
        flag(spec.pass, Step::pass),
        flag(spec.reset_before_head, Step::reset_before_head),
        flag(spec.close_before_head, Step::close_before_head),
        flag(spec.stall_before_head, Step::stall_before_head),
        spec.reset_after_chunks.map(Step::reset_after_chunks),
        spec.cut_after_chunks.map(Step::cut_after_chunks),
        spec.truncate_after_chunks.map(Step::truncate_after_chunks),
        spec.stall_after_chunks.map(Step::stall_after_chunks),
    ];
    let mut whole = whole.into_iter().flatten();
    let first = whole.next();
    if whole.next().is_some() {
        return Err(wrong("a step does one thing; write another for the other"));
    }
    let adds = spec.drip.is_some()
        || spec.comments.is_some()
        || spec.delay.is_some()
        || spec.crlf
        || spec.usage_beside_finish;
    if first.is_none() && !adds {
        return Err(wrong(
            "a step needs something to do; `pass = true` lets the call through",
        ));
    }
    let mut step = first.unwrap_or_else(Step::pass);
    if let Some(drip) = spec.drip {
        step = step.dripping(drip.bytes, drip.every.0);
    }
    if let Some(Wait(delay)) = spec.delay {
        step = step.delayed(delay);
    }
    step.spoil.comments = spec.comments;
    step.spoil.crlf = spec.crlf;
    step.spoil.usage_beside_finish = spec.usage_beside_finish;
    match (spec.times, spec.forever) {
        (Some(_), true) => Err(wrong("a step has either times or forever")),
        (Some(times), false) => Ok(step.times(times)),
        (None, true) => Ok(step.forever()),
        (None, false) => Ok(step),
    }
}

impl ReplySpec {
    fn reply(self) -> Result<Reply, Wrong> {
        if !(200..600).contains(self.status.get_ref()) {
            return Err(Wrong::at(&self.status, "an HTTP status from 200 to 599"));
        }
        let mut reply = Reply::bytes(self.status.into_inner(), self.body);
        if let Some(content_type) = self.content_type {
            reply = reply.header("content-type", content_type);
        }
        for (name, value) in self.headers {
            reply = reply.header(name, value);
        }
        Ok(reply)
    }
}
