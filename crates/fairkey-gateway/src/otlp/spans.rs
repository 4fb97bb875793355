//! One request as spans.

use std::time::Duration;

use fairkey_client::Attempt;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::{attribute, nanos, text};
use crate::End;
use crate::access_log::{cut, end};
use crate::record::CallRecord;

/// Returns the span of a request, and that of each attempt below it. Names of attributes are those
/// of OpenTelemetry's conventions where they have one, and begin with `fairkey.` otherwise.
pub(super) fn of(
    call: &CallRecord<'_>,
    trace_id: [u8; 16],
    began: Duration,
    mut id: impl FnMut() -> [u8; 8],
) -> Vec<Span> {
    let own = id();
    let mut spans = Vec::with_capacity(1 + call.attempts.len());
    let has_failed = call.reason.is_some()
        || matches!(call.end, Some(End::Failed | End::Broken))
        || call.status >= 500;
    let why = match (call.reason, call.end) {
        (Some(reason), _) => reason.as_str().to_owned(),
        (None, Some(how @ (End::Failed | End::Broken))) => end(how).to_owned(),
        _ => call.status.to_string(),
    };
    let mut attributes = vec![
        text("http.request.method", cut(call.method)),
        attribute(
            "http.response.status_code",
            Value::IntValue(call.status.into()),
        ),
        text("gen_ai.operation.name", call.operation),
        text("gen_ai.provider.name", "openrouter"),
        text("fairkey.request_id", cut(call.request_id)),
        attribute(
            "fairkey.attempts",
            Value::IntValue(call.attempts.len() as i64),
        ),
        attribute(
            "fairkey.queued",
            Value::DoubleValue(call.queued.as_secs_f64()),
        ),
        attribute("fairkey.stream", Value::BoolValue(call.is_stream)),
    ];
    let account = call.attempts.last().and_then(|last| last.account.as_ref());
    let texts = [
        ("gen_ai.request.model", call.model.map(cut)),
        ("gen_ai.response.id", call.generation.map(cut)),
        (
            "fairkey.tenant",
            Some(call.tenant).filter(|it| !it.is_empty()),
        ),
        ("fairkey.key", call.key_label()),
        ("fairkey.account", account.map(|account| account.as_str())),
        ("fairkey.end", call.end.map(end)),
        ("error.type", has_failed.then_some(&*why)),
    ];
    attributes.extend(
        texts
            .into_iter()
            .filter_map(|(key, value)| Some(text(key, value?))),
    );
    if let Some(first) = call.first_content {
        attributes.push(attribute(
            "fairkey.first_content",
            Value::DoubleValue(first.as_secs_f64()),
        ));
    }
    if let Some(used) = call.used {
        let usd = used.micro_usd as f64 / 1e6;
        let tokens = i64::try_from(used.tokens).unwrap_or(i64::MAX);
        attributes.push(attribute("fairkey.tokens", Value::IntValue(tokens)));
        attributes.push(attribute("fairkey.cost_usd", Value::DoubleValue(usd)));
    }
    let name = match call.model {
        Some(model) => format!("{} {}", call.operation, cut(model)),
        None => call.operation.to_owned(),
    };
    spans.push(Span {
        trace_id: trace_id.to_vec(),
        span_id: own.to_vec(),
        parent_span_id: call
            .trace
            .map_or_else(Vec::new, |parent| parent.span_id.to_vec()),
        name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(began),
        end_time_unix_nano: nanos(began.saturating_add(call.total)),
        attributes,
        status: Some(status(has_failed, &why)),
        ..Span::default()
    });
    for attempt in call.attempts {
        spans.push(of_attempt(call, attempt, trace_id, own, began, id()));
    }
    spans
}

fn of_attempt(
    call: &CallRecord<'_>,
    attempt: &Attempt,
    trace_id: [u8; 16],
    parent: [u8; 8],
    began: Duration,
    id: [u8; 8],
) -> Span {
    let start = began.saturating_add(attempt.began.since(call.began));
    let fault = attempt.fault;
    let mut attributes = vec![
        text("gen_ai.provider.name", "openrouter"),
        text("fairkey.key", attempt.key.as_str()),
    ];
    let texts = [
        (
            "fairkey.account",
            attempt.account.as_ref().map(|account| account.as_str()),
        ),
        ("gen_ai.request.model", attempt.model.as_deref().map(cut)),
        ("error.type", fault.map(|fault| fault.cause.as_str())),
        // Who bears it.
        (
            "fairkey.fault.scope",
            fault.map(|fault| fault.scope.as_str()),
        ),
    ];
    attributes.extend(
        texts
            .into_iter()
            .filter_map(|(key, value)| Some(text(key, value?))),
    );
    if let Some(status) = fault.and_then(|fault| fault.status) {
        let status = Value::IntValue(status.into());
        attributes.push(attribute("http.response.status_code", status));
    }
    Span {
        trace_id: trace_id.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: parent.to_vec(),
        name: "attempt".to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(start.saturating_add(attempt.elapsed)),
        attributes,
        status: Some(status(
            fault.is_some(),
            fault.map_or("", |fault| fault.cause.as_str()),
        )),
        ..Span::default()
    }
}

fn status(has_failed: bool, why: &str) -> Status {
    match has_failed {
        true => Status {
            code: StatusCode::Error.into(),
            message: why.to_owned(),
        },
        // Who serves says nothing of success, by the conventions.
        false => Status::default(),
    }
}
