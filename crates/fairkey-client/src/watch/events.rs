//! Streams that are no chat completions: the Responses, Messages and image formats, and legacy
//! completions.

use std::borrow::Cow;
use std::collections::VecDeque;

use fairkey_core::Cost;
use fairkey_openrouter::{Fault, SseEvent, SseMessage, SseParser, Usage};
use serde::Deserialize;

use super::News;
use crate::summary;

/// Events that come before any content.
const PREAMBLE: [&str; 9] = [
    "ping",
    "message_start",
    "content_block_start",
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_summary_part.added",
];

/// Events that end a stream. `[DONE]`, which is no JSON, does too.
const LAST: [&str; 4] = [
    "message_stop",
    "response.completed",
    "response.incomplete",
    "image_generation.completed",
];

/// Watches a stream of events.
#[derive(Debug, Default)]
pub(crate) struct EventWatch {
    parser: SseParser,
    queue: VecDeque<News>,
    content: bool,
    over: bool,
    cost: Option<Cost>,
}

#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    usage: Option<Usage>,
    response: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    usage: Option<Usage>,
}

impl EventWatch {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        if self.over {
            return;
        }
        self.parser.push(chunk);
        while let Some(event) = self.parser.next() {
            match event {
                Ok(SseEvent::Message(message)) => self.read(&message),
                Ok(_) => {}
                Err(error) => self.end(News::Fault(Fault::malformed(&error.to_string()))),
            }
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some(SseEvent::Message(message)) = self.parser.finish() {
            self.read(&message);
        }
        self.end(News::Fault(Fault::truncated()));
    }

    pub(super) fn news(&mut self) -> Option<News> {
        self.queue.pop_front()
    }

    pub(super) fn cost(&self) -> Option<Cost> {
        self.cost
    }

    fn read(&mut self, message: &SseMessage) {
        if self.over || message.data.is_empty() {
            return;
        }
        if message.data == "[DONE]" {
            return self.end(News::Done);
        }
        if let Some(fault) = Fault::from_frame(&message.data) {
            return self.end(News::Fault(fault));
        }
        let probe = serde_json::from_slice::<Probe<'_>>(&message.data).ok();
        let kind = probe
            .as_ref()
            .and_then(|probe| probe.kind.as_deref())
            .or(message.name());
        let kind = kind.unwrap_or_default().to_owned();
        let usage = probe.and_then(|probe| probe.usage.or(probe.response.and_then(|r| r.usage)));
        self.cost = usage.as_ref().and_then(summary::cost).or(self.cost);
        if LAST.contains(&kind.as_str()) {
            self.end(News::Done);
        } else if !self.content && !PREAMBLE.contains(&kind.as_str()) {
            self.content = true;
            self.queue.push_back(News::Content);
        }
    }

    fn end(&mut self, news: News) {
        if !self.over {
            self.over = true;
            self.queue.push_back(news);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(body: &str) -> Vec<News> {
        let mut watch = EventWatch::default();
        watch.push(body.as_bytes());
        watch.finish();
        std::iter::from_fn(|| watch.news()).collect()
    }

    #[test]
    fn messages_end_with_their_stop() {
        let start = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n";
        let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\n";
        let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        assert_eq!(
            news(&format!("{start}{delta}{stop}")),
            [News::Content, News::Done]
        );
        let cut = news(&format!("{start}{delta}"));
        assert!(
            matches!(cut[..], [News::Content, News::Fault(_)]),
            "{cut:?}"
        );
        let early = news(&format!(
            "{start}event: ping\ndata: {{\"type\":\"ping\"}}\n\n"
        ));
        assert!(matches!(early[..], [News::Fault(_)]), "{early:?}");
    }

    #[test]
    fn responses_and_legacy_completions_end_in_their_own_way() {
        let created = "data: {\"type\":\"response.created\",\"response\":{\"id\":\"x\"}}\n\n";
        let delta = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n";
        let done =
            "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"cost\":0.1}}}";
        assert_eq!(
            news(&format!("{created}{delta}{done}\n\n")),
            [News::Content, News::Done]
        );
        let text = "data: {\"choices\":[{\"text\":\"x\"}]}\n\ndata: [DONE]\n\n";
        assert_eq!(news(text), [News::Content, News::Done]);
    }

    #[test]
    fn an_error_event_is_a_fault() {
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":\
            {\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n";
        assert!(matches!(news(error)[..], [News::Fault(_)]));
    }
}
