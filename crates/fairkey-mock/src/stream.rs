//! An answer as an event stream: comments, the role, content, the finish, usage, `[DONE]`.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::answer::{Answer, next_delta};
use crate::ask::{Shape, tokens};
use crate::body::Piece;
use crate::chance::Latency;
use crate::fault::{Fault, Place};
use crate::random::Rng;
use crate::wire::{Preamble, Usage, messages, responses};

/// Makes the pieces of a stream one by one, as they are asked for.
pub(crate) struct AnswerStream {
    pub(crate) preamble: Preamble,
    pub(crate) answer: Answer,
    pub(crate) usage: Usage,
    pub(crate) fault: Option<Fault>,
    pub(crate) metadata: Option<Value>,
    pub(crate) comments: usize,
    pub(crate) crlf: bool,
    /// Usage beside a repeated terminal choice.
    pub(crate) usage_beside_finish: bool,
    pub(crate) latency: Latency,
    pub(crate) rng: Rng,
    pub(crate) at: Phase,
    /// The number of the next event, where events are numbered.
    pub(crate) sequence: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// That many comments were sent.
    Comments(usize),
    Role,
    /// Content from this byte on; that many chunks of it were sent.
    Content {
        from: usize,
        chunks: usize,
    },
    Finish,
    Usage,
    Done,
    End,
}

impl AnswerStream {
    /// How long the next piece takes to come.
    pub(crate) fn wait_before_next(&mut self) -> Duration {
        self.skip_empty_phases();
        let wait = match self.at {
            Phase::Role => self.latency.first_token / 2,
            Phase::Content { from, chunks } if chunks > 0 => {
                let delta = next_delta(&self.answer.text[from..]);
                self.latency
                    .per_token
                    .saturating_mul(tokens(delta.len()) as u32)
            }
            _ => Duration::ZERO,
        };
        self.latency.draw(wait, &mut self.rng)
    }

    pub(crate) fn next(&mut self) -> Option<Piece> {
        self.skip_empty_phases();
        let (piece, next) = match self.at {
            Phase::Comments(sent) => {
                return self.comment(sent);
            }
            Phase::Role => {
                let content = Phase::Content { from: 0, chunks: 0 };
                (self.start(), content)
            }
            Phase::Content { from, chunks } => return Some(self.content(from, chunks)),
            Phase::Finish => match self.fault.take() {
                Some(fault) => {
                    let natively = matches!(fault.place(), Place::NativeFinish { .. });
                    let after = match self.preamble.shape {
                        // Its error event is its last.
                        Shape::Messages => Phase::End,
                        Shape::Responses => Phase::Done,
                        _ if natively => Phase::Usage,
                        _ => Phase::Done,
                    };
                    (self.error(&fault), after)
                }
                None => (self.finish(), Phase::Usage),
            },
            Phase::Usage => {
                let messages = self.preamble.shape == Shape::Messages;
                let next = if messages { Phase::End } else { Phase::Done };
                (self.usage_event(), next)
            }
            Phase::Done => {
                let end = if self.crlf {
                    "data: [DONE]\r\n\r\n"
                } else {
                    "data: [DONE]\n\n"
                };
                (Bytes::from_static(end.as_bytes()), Phase::End)
            }
            Phase::End => return None,
        };
        self.at = next;
        Some(Piece {
            bytes: piece,
            content: None,
        })
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.at == Phase::End
    }

    /// Whether comments and role are out.
    pub(crate) fn is_past_role(&self) -> bool {
        !matches!(self.at, Phase::Comments(_) | Phase::Role)
    }

    fn skip_empty_phases(&mut self) {
        if self.at == Phase::Comments(self.comments) {
            // A bare error before any content is all that its stream has.
            self.at = match self.fault.as_ref().map(Fault::place) {
                Some(Place::BareError { after: 0 }) => Phase::Finish,
                _ => Phase::Role,
            };
        }
        if let Phase::Content { from, chunks } = self.at {
            let failed = match self.fault.as_ref().map(Fault::place) {
                Some(
                    Place::BareError { after }
                    | Place::ChoiceError { after }
                    | Place::NativeFinish { after, .. },
                ) => chunks >= *after,
                _ => false,
            };
            if failed || from >= self.answer.text.len() {
                self.at = Phase::Finish;
            }
        }
    }

    fn comment(&mut self, sent: usize) -> Option<Piece> {
        self.at = Phase::Comments(sent + 1);
        let text = if self.crlf {
            ": OPENROUTER PROCESSING\r\n\r\n"
        } else {
            ": OPENROUTER PROCESSING\n\n"
        };
        Some(Piece {
            bytes: Bytes::from_static(text.as_bytes()),
            content: None,
        })
    }

    fn content(&mut self, from: usize, chunks: usize) -> Piece {
        let delta = next_delta(&self.answer.text[from..]);
        let bytes = delta.len();
        self.at = Phase::Content {
            from: from + bytes,
            chunks: chunks + 1,
        };
        Piece {
            bytes: self.delta(from, bytes, chunks == 0),
            content: Some(bytes),
        }
    }

    /// What comes before the content.
    fn start(&mut self) -> Bytes {
        match self.preamble.shape {
            Shape::Messages => {
                let events = messages::start(&self.preamble, &self.answer, &self.usage);
                self.named(&events)
            }
            Shape::Responses => {
                let events = responses::start(&self.preamble, &self.answer);
                self.numbered(events)
            }
            _ => self.frame(&self.preamble.role_chunk()),
        }
    }

    /// `bytes` bytes of content.
    fn delta(&mut self, from: usize, bytes: usize, first: bool) -> Bytes {
        let text = &self.answer.text[from..from + bytes];
        match (self.preamble.shape, &self.answer.tool) {
            (Shape::Messages, _) => {
                let event = messages::delta(&self.answer, text);
                self.named(&[event])
            }
            (Shape::Responses, _) => {
                let event = responses::delta(&self.preamble, &self.answer, text);
                self.numbered(vec![event])
            }
            (_, Some(name)) => {
                let name = first.then_some(name.as_str());
                self.frame(&self.preamble.tool_chunk(name, text))
            }
            (_, None) => self.frame(&self.preamble.content_chunk(text)),
        }
    }

    /// The end of the content.
    fn finish(&mut self) -> Bytes {
        match self.preamble.shape {
            Shape::Messages => {
                let metadata = self.metadata.as_ref();
                self.named(&messages::finish(&self.answer, &self.usage, metadata))
            }
            Shape::Responses => {
                let events = responses::finish(&self.preamble, &self.answer);
                self.numbered(events)
            }
            _ => {
                let finish = self.answer.finish_reason;
                self.frame(&self.preamble.finish_chunk(finish, finish, None))
            }
        }
    }

    /// What comes last but for `[DONE]`.
    fn usage_event(&mut self) -> Bytes {
        match self.preamble.shape {
            Shape::Messages => self.named(&[messages::stop()]),
            Shape::Responses => {
                let metadata = self.metadata.as_ref();
                let (preamble, answer) = (&self.preamble, &self.answer);
                let event = responses::completed(preamble, answer, &self.usage, metadata);
                self.numbered(vec![event])
            }
            _ => self.frame(&self.usage_chunk()),
        }
    }

    /// The failure that a stream ends in.
    fn error(&mut self, fault: &Fault) -> Bytes {
        let begun = !matches!(fault.place(), Place::BareError { .. });
        match self.preamble.shape {
            Shape::Messages => {
                let event = messages::error(fault, Some(&self.preamble.id));
                self.named(&[("error", event)])
            }
            Shape::Responses if begun => {
                let event = responses::failed_event(&self.preamble, fault);
                self.numbered(vec![event])
            }
            Shape::Responses => self.numbered(vec![responses::error_event(fault)]),
            _ => self.frame(&self.preamble.error_chunk(fault)),
        }
    }

    /// Events whose name stands before their data.
    fn named(&self, events: &[messages::Named]) -> Bytes {
        let end = self.line_end();
        let mut frames = String::new();
        for (name, data) in events {
            frames.push_str(&format!("event: {name}{end}data: {data}{end}{end}"));
        }
        frames.into()
    }

    /// Events with a number each.
    fn numbered(&mut self, events: Vec<Value>) -> Bytes {
        let end = self.line_end();
        let mut frames = String::new();
        for mut event in events {
            event["sequence_number"] = self.sequence.into();
            self.sequence += 1;
            frames.push_str(&format!("data: {event}{end}{end}"));
        }
        frames.into()
    }

    fn line_end(&self) -> &'static str {
        if self.crlf { "\r\n" } else { "\n" }
    }

    fn usage_chunk(&self) -> Vec<u8> {
        if self.usage_beside_finish {
            let finish = self.answer.finish_reason;
            return self
                .preamble
                .finish_chunk(finish, finish, Some(&self.usage));
        }
        self.preamble
            .usage_chunk(&self.usage, self.metadata.as_ref())
    }

    fn frame(&self, json: &[u8]) -> Bytes {
        let end: &[u8] = if self.crlf { b"\r\n\r\n" } else { b"\n\n" };
        let mut frame = Vec::with_capacity(json.len() + 10);
        frame.extend_from_slice(b"data: ");
        frame.extend_from_slice(json);
        frame.extend_from_slice(end);
        frame.into()
    }
}
