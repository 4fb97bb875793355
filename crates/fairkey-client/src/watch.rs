//! A side reader: sees what passes, changes nothing: [`Watch`].

use bytes::{Bytes, BytesMut};
use fairkey_openrouter::media::{Media, is_plain};
use fairkey_openrouter::{
    ChatStreamReader, EventFormat, EventItem, EventStreamReader, Fault, StreamItem, Usage, endpoint,
};
use http::HeaderMap;

use crate::summary::Summary;

/// How much of a JSON answer is kept for a look at its end; of a larger one only the end counts.
pub(crate) const JSON_BYTES: usize = 8 << 20;

/// What a watch has seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    /// The first content: from here on another attempt would repeat something.
    Content,
    /// The answer is whole.
    Done,
    /// The answer says that it failed, or is not whole although it has ended.
    Fault(Fault),
}

/// Sees an answer pass.
#[derive(Debug)]
pub(crate) enum Watch {
    /// A streamed chat completion.
    Chat {
        reader: Box<ChatStreamReader>,
        content: bool,
    },
    /// A stream of another format.
    Events {
        reader: Box<EventStreamReader>,
        content: bool,
    },
    /// JSON: looked at when it is whole.
    Json {
        copy: Gathered,
        /// What it answers.
        path: Box<str>,
        ended: bool,
        usage: Option<Box<Usage>>,
        provider: Option<Box<str>>,
    },
    /// Something that cannot be read, or need not be: whole when its end has come.
    Blind { ended: bool },
}

impl Watch {
    /// Chooses the watch for an answer to a request to `path`.
    pub(crate) fn choose(path: &str, headers: &HeaderMap) -> Self {
        if !is_plain(headers) {
            return Self::Blind { ended: false };
        }
        match Media::of(headers) {
            Media::EventStream if is_chat(path) => Self::Chat {
                reader: Box::default(),
                content: false,
            },
            Media::EventStream => Self::Events {
                reader: Box::new(EventStreamReader::new(EventFormat::of_path(path))),
                content: false,
            },
            Media::Json => Self::Json {
                copy: Gathered::default(),
                path: path.into(),
                ended: false,
                usage: None,
                provider: None,
            },
            Media::Other => Self::Blind { ended: false },
        }
    }

    /// Tells whether the watch can tell content from what precedes it.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Chat { .. } | Self::Events { .. })
    }

    /// Tells whether the watch judges an answer when it is whole.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self, Self::Json { .. })
    }

    /// Takes bytes that pass. Take all news before the next.
    pub(crate) fn push(&mut self, chunk: &Bytes) {
        match self {
            Self::Chat { reader, .. } => reader.push_bytes(chunk.clone()),
            Self::Events { reader, .. } => reader.push_bytes(chunk.clone()),
            Self::Json { copy, .. } => {
                if copy.len() + chunk.len() > JSON_BYTES {
                    *self = Self::Blind { ended: false };
                } else {
                    copy.push(chunk);
                }
            }
            Self::Blind { .. } => {}
        }
    }

    /// Says that the body has ended.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Chat { reader, .. } => reader.finish(),
            Self::Events { reader, .. } => reader.finish(),
            Self::Json { ended, .. } | Self::Blind { ended } => *ended = true,
        }
    }

    /// Returns what has been seen, one thing at a time. Done or a fault is the last.
    pub(crate) fn news(&mut self) -> Option<News> {
        match self {
            Self::Chat { reader, content } => loop {
                let item = reader.skim()?;
                match item {
                    StreamItem::Done => return Some(News::Done),
                    StreamItem::Fault(fault) => return Some(News::Fault(fault)),
                    _ if reader.has_content() && !*content => {
                        *content = true;
                        return Some(News::Content);
                    }
                    _ => {}
                }
            },
            Self::Events { reader, content } => loop {
                let item = reader.next()?;
                match item {
                    EventItem::Done => return Some(News::Done),
                    EventItem::Fault(fault) => return Some(News::Fault(fault)),
                    _ if reader.has_content() && !*content => {
                        *content = true;
                        return Some(News::Content);
                    }
                    _ => {}
                }
            },
            Self::Json { ended: false, .. } | Self::Blind { ended: false } => None,
            Self::Json { copy, path, .. } => {
                let (fault, told) = if is_nothing(path, copy.bytes()) {
                    (None, None)
                } else {
                    Fault::in_answer_told(path, copy.bytes())
                };
                let summary = match told {
                    Some(told) => Summary::of_told(&told, path, copy.bytes()),
                    None => Summary::of(path, copy.bytes()),
                };
                *self = Self::Json {
                    copy: Gathered::default(),
                    path: Box::default(),
                    ended: false,
                    usage: summary.usage.map(Box::new),
                    provider: summary.provider.map(String::into_boxed_str),
                };
                Some(fault.map_or(News::Done, News::Fault))
            }
            Self::Blind { ended } => {
                *ended = false;
                Some(News::Done)
            }
        }
    }

    /// Returns how many bytes, of those that were pushed last, come after the last news.
    pub(crate) fn unread(&self) -> usize {
        match self {
            Self::Chat { reader, .. } => reader.unread_bytes(),
            Self::Events { reader, .. } => reader.unread_bytes(),
            Self::Json { .. } | Self::Blind { .. } => 0,
        }
    }

    /// Returns the provider that served the call, where the answer has named it.
    pub(crate) fn provider(&self) -> Option<&str> {
        match self {
            Self::Chat { reader, .. } => reader.provider(),
            Self::Events { reader, .. } => reader.provider(),
            Self::Json { provider, .. } => provider.as_deref(),
            Self::Blind { .. } => None,
        }
    }

    /// Returns what the call used, as far as the answer has said.
    pub(crate) fn usage(&self) -> Option<&Usage> {
        match self {
            Self::Chat { reader, .. } => reader.usage(),
            Self::Events { reader, .. } => reader.usage(),
            Self::Json { usage, .. } => usage.as_deref(),
            Self::Blind { .. } => None,
        }
    }
}

/// Finds a failure in the body of a 200 that is JSON. No body at all is one only where a
/// completion was asked for.
pub(crate) fn body_fault(body: &[u8], chat: bool) -> Option<Fault> {
    let path = if chat { endpoint::CHAT_COMPLETIONS } else { "" };
    answer_fault(path, body)
}

/// The same for an answer to a request to `path`.
fn answer_fault(path: &str, body: &[u8]) -> Option<Fault> {
    if is_nothing(path, body) {
        return None;
    }
    Fault::in_answer(path, body)
}

/// Tells whether there is no body, and need not be one.
fn is_nothing(path: &str, body: &[u8]) -> bool {
    let answers = [
        endpoint::CHAT_COMPLETIONS,
        endpoint::MESSAGES,
        endpoint::RESPONSES,
        endpoint::EMBEDDINGS,
    ];
    body.is_empty() && !answers.iter().any(|answer| path.ends_with(answer))
}

/// Chunks in one piece: without a copy where it was one, as most are.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    first: Bytes,
    /// All of it, once there is more than one.
    all: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn bytes(&self) -> &[u8] {
        if self.all.is_empty() {
            &self.first
        } else {
            &self.all
        }
    }

    fn push(&mut self, chunk: &Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = chunk.clone();
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(chunk);
    }
}

pub(crate) fn is_chat(path: &str) -> bool {
    path.ends_with(fairkey_openrouter::endpoint::CHAT_COMPLETIONS)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

    use super::*;

    fn headers(media: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))])
    }

    fn all(mut watch: Watch, body: &str) -> Vec<News> {
        let mut news = Vec::new();
        for byte in body.as_bytes() {
            watch.push(&Bytes::copy_from_slice(&[*byte]));
            news.extend(std::iter::from_fn(|| watch.news()));
        }
        watch.finish();
        news.extend(std::iter::from_fn(|| watch.news()));
        news
    }

    #[test]
    fn the_format_follows_path_and_headers() {
        let choose = |path: &str, media| Watch::choose(path, &headers(media));
        let sse = "text/event-stream; charset=utf-8";
        assert!(matches!(
            choose("/api/v1/chat/completions", sse),
            Watch::Chat { .. }
        ));
        assert!(matches!(
            choose("/api/v1/messages", sse),
            Watch::Events { .. }
        ));
        assert!(matches!(
            choose("/api/v1/embeddings", "application/json"),
            Watch::Json { .. }
        ));
        assert!(matches!(
            choose("/api/v1/audio/speech", "audio/pcm"),
            Watch::Blind { .. }
        ));
        let mut zipped = headers(sse);
        zipped.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(matches!(
            Watch::choose("/chat/completions", &zipped),
            Watch::Blind { .. }
        ));
    }

    #[test]
    fn json_is_judged_when_it_is_whole() {
        let json = || Watch::choose("/api/v1/chat/completions", &headers("application/json"));
        let good = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#;
        assert_eq!(all(json(), good), [News::Done]);
        let bad = all(json(), r#"{"error":{"code":502,"message":"x"}}"#);
        assert!(matches!(bad[..], [News::Fault(_)]), "{bad:?}");
    }

    #[test]
    fn no_body_is_a_failure_only_of_a_completion() {
        let none = headers("application/json");
        assert_eq!(
            all(Watch::choose("/api/v1/keys/x", &none), ""),
            [News::Done]
        );
        let completion = all(Watch::choose("/api/v1/chat/completions", &none), "");
        assert!(matches!(completion[..], [News::Fault(_)]), "{completion:?}");
    }

    #[test]
    fn json_beyond_the_bound_is_not_kept() {
        let mut watch = Watch::choose("/api/v1/files", &headers("application/json"));
        for _ in 0..9 {
            watch.push(&Bytes::from(vec![b' '; 1 << 20]));
        }
        assert!(matches!(watch, Watch::Blind { .. }));
        watch.finish();
        assert_eq!(watch.news(), Some(News::Done));
    }

    #[test]
    fn streams_of_other_formats_tell_content_and_end_in_their_own_way() {
        let sse = headers("text/event-stream");
        let start = r#"data: {"type":"message_start","message":{"usage":{"input_tokens":3}}}"#;
        let delta = r#"data: {"type":"content_block_delta","delta":{"text":"x"}}"#;
        let stop = r#"data: {"type":"message_stop"}"#;
        let messages = || Watch::choose("/api/v1/messages", &sse);
        let whole = format!("{start}\n\n{delta}\n\n{stop}\n\n");
        assert_eq!(all(messages(), &whole), [News::Content, News::Done]);
        let cut = all(messages(), &format!("{start}\n\n{delta}\n\n"));
        assert!(
            matches!(cut[..], [News::Content, News::Fault(_)]),
            "{cut:?}"
        );
        let mut watch = messages();
        watch.push(&Bytes::from(whole));
        while watch.news().is_some() {}
        assert_eq!(watch.usage().map(|usage| usage.cost().tokens), Some(3));
    }

    #[test]
    fn whole_answers_of_other_formats_are_judged_and_counted_too() {
        let json = headers("application/json");
        let mut watch = Watch::choose("/api/v1/messages", &json);
        watch.push(&Bytes::from_static(
            br#"{"content":[{"text":"x"}],"usage":{"input_tokens":3,"output_tokens":4}}"#,
        ));
        watch.finish();
        assert_eq!(watch.news(), Some(News::Done));
        assert_eq!(watch.usage().map(|usage| usage.cost().tokens), Some(7));
        let silent = r#"{"type":"message","content":[],"stop_reason":null}"#;
        let silent = all(Watch::choose("/api/v1/messages", &json), silent);
        assert!(matches!(silent[..], [News::Fault(_)]), "{silent:?}");
    }

    #[test]
    fn a_chat_stream_tells_content_before_its_end_and_a_cut_one_is_a_fault() {
        let chat = || Watch::choose("/chat/completions", &headers("text/event-stream"));
        let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        let text = r#"data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#;
        let whole = format!(": hold on\n\n{role}\n\n{text}\n\ndata: [DONE]\n\n");
        assert_eq!(all(chat(), &whole), [News::Content, News::Done]);
        let cut = all(chat(), &format!("{role}\n\n"));
        assert!(matches!(cut[..], [News::Fault(_)]), "{cut:?}");
    }
}
