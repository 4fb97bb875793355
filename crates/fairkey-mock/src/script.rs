//! Scripts: what the next calls meet, one step a call.
//!
//! A script is a selector ([`On`]) and a list of [`Step`]s. Every call that the selector matches
//! uses up one step, in order of arrival; when the steps are gone, the mock behaves as usual again.
//! Of several scripts that match, the one added first has its turn first.
//!
//! A step that replies does so before the mock looks at the key, its account or any limit, and
//! costs nothing; only a fault inside a 200 comes from a provider, so that its call must be let in
//! first. A step that only spoils the delivery (a reset, a stall, a drip) lets the mock answer as
//! usual, with all its checks and billing, and spoils that answer.
//!
//! *Chunks* are counted by what they carry: on a stream of the mock's own, one chunk is one delta
//! with content; keep-alive comments and the first delta, which carries only the role, come before
//! chunk 1, so that `reset_after_chunks(0)` breaks a stream whose head, comments and role were seen
//! and whose content was not. Of a plain JSON answer, one chunk is 64 bytes; of [`Reply::sse`], one
//! of its writes.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::reply::Reply;

/// Which calls a script is for: any, or by key, model or path, or by several of these together.
///
/// Without a path only inference calls match (`/chat/completions`, `/messages`, `/responses`,
/// `/completions`, `/embeddings`, `/rerank`).
/// `Debug` does not show the key, which may be named by its secret.
#[derive(Clone, Default)]
pub struct On {
    key: Option<String>,
    model: Option<String>,
    path: Option<String>,
}

impl On {
    /// Every inference call.
    pub fn any() -> Self {
        Self::default()
    }

    /// Inference calls with this key, named by secret or by label.
    pub fn key(key: impl Into<String>) -> Self {
        Self::any().and_key(key)
    }

    /// Inference calls that ask for this model first.
    pub fn model(model: impl Into<String>) -> Self {
        Self::any().and_model(model)
    }

    /// Calls of this path below the base URL, such as `/key` or `/chat/completions`, without the
    /// query; `/api/beta/batches` for what lies beside the base URL. One that ends in `/*` means
    /// every path below it: `/api/beta/batches/*` each look at a batch.
    pub fn path(path: impl Into<String>) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::default()
        }
    }

    /// Narrows to one key.
    #[must_use]
    pub fn and_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Narrows to one model.
    #[must_use]
    pub fn and_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    fn matches(&self, call: &CallFacts<'_>) -> bool {
        let key = self.key.as_deref();
        (key.is_none() || key == call.secret || key == call.label)
            && (self.model.is_none() || self.model.as_deref() == call.model)
            && self
                .path
                .as_deref()
                .map_or(call.inference, |path| is_path(path, call.path))
    }
}

/// Whether a path is the one that is meant, or below it.
fn is_path(meant: &str, path: &str) -> bool {
    match meant.strip_suffix('*') {
        Some(above) if above.ends_with('/') => path.len() > above.len() && path.starts_with(above),
        _ => meant == path,
    }
}

impl fmt::Debug for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("On")
            .field("key", &self.key.as_ref().map(|_| ".."))
            .field("model", &self.model)
            .field("path", &self.path)
            .finish()
    }
}

/// What selectors look at.
#[derive(Clone, Copy)]
pub(crate) struct CallFacts<'a> {
    pub(crate) secret: Option<&'a str>,
    pub(crate) label: Option<&'a str>,
    pub(crate) model: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) inference: bool,
}

/// What one call meets. See the [module](self) for what counts as a chunk.
#[derive(Clone, Debug)]
pub struct Step {
    pub(crate) spoil: Spoil,
    times: u64,
}

/// What a step does to its call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spoil {
    pub(crate) reply: Option<Reply>,
    pub(crate) delay: Duration,
    /// Breaks the call before any byte of the answer.
    pub(crate) before_head: Option<Break>,
    /// Breaks the body after this many chunks.
    pub(crate) after_chunks: Option<(usize, Break)>,
    pub(crate) drip: Option<Drip>,
    pub(crate) comments: Option<usize>,
    pub(crate) crlf: bool,
    pub(crate) usage_beside_finish: bool,
}

/// How an answer ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Break {
    /// The connection is reset (TCP RST); over HTTP/2 the stream is (`RST_STREAM`), and its
    /// siblings go on.
    Reset,
    /// The connection is closed in the middle of the body, without its end; over HTTP/2 like
    /// `Reset`.
    Cut,
    /// The body ends properly, and too early: no finish, no usage, no `[DONE]`.
    Truncate,
    /// Nothing comes any more, and the connection stays open until the client leaves.
    Stall,
}

/// A body sent in small pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drip {
    pub(crate) bytes: usize,
    pub(crate) every: Duration,
}

impl Step {
    fn spoiling(spoil: Spoil) -> Self {
        Self { spoil, times: 1 }
    }

    /// Lets the call through untouched.
    pub fn pass() -> Self {
        Self::spoiling(Spoil::default())
    }

    /// Answers with a [`Fault`](crate::Fault) or a [`Reply`].
    pub fn reply(reply: impl Into<Reply>) -> Self {
        Self::spoiling(Spoil {
            reply: Some(reply.into()),
            ..Spoil::default()
        })
    }

    /// Breaks the connection before the head of the answer.
    pub fn reset_before_head() -> Self {
        Self::spoiling(Spoil {
            before_head: Some(Break::Reset),
            ..Spoil::default()
        })
    }

    /// Closes the connection before the head of the answer, without a reset.
    pub fn close_before_head() -> Self {
        Self::spoiling(Spoil {
            before_head: Some(Break::Cut),
            ..Spoil::default()
        })
    }

    /// Never answers.
    pub fn stall_before_head() -> Self {
        Self::spoiling(Spoil {
            before_head: Some(Break::Stall),
            ..Spoil::default()
        })
    }

    /// Breaks the connection after `chunks` chunks of the body.
    pub fn reset_after_chunks(chunks: usize) -> Self {
        Self::breaking(chunks, Break::Reset)
    }

    /// Closes the connection, without a reset and without the end of the body, after `chunks`
    /// chunks.
    pub fn cut_after_chunks(chunks: usize) -> Self {
        Self::breaking(chunks, Break::Cut)
    }

    /// Ends the body cleanly after `chunks` chunks: no finish, no usage, no `[DONE]`.
    pub fn truncate_after_chunks(chunks: usize) -> Self {
        Self::breaking(chunks, Break::Truncate)
    }

    /// Sends nothing more after `chunks` chunks, and keeps the connection open.
    pub fn stall_after_chunks(chunks: usize) -> Self {
        Self::breaking(chunks, Break::Stall)
    }

    fn breaking(chunks: usize, how: Break) -> Self {
        Self::spoiling(Spoil {
            after_chunks: Some((chunks, how)),
            ..Spoil::default()
        })
    }

    /// Sends the body `bytes` bytes at a time (at least 1) and waits `every` between them. With a
    /// wait of zero every piece is still a write of its own as far as the connection allows.
    pub fn drip(bytes: usize, every: Duration) -> Self {
        let drip = Drip {
            bytes: bytes.max(1),
            every,
        };
        Self::spoiling(Spoil {
            drip: Some(drip),
            ..Spoil::default()
        })
    }

    /// Waits before the head of the answer.
    pub fn delay(delay: Duration) -> Self {
        Self::pass().delayed(delay)
    }

    /// Sends `count` keep-alive comments before the first delta of a stream.
    pub fn comments(count: usize) -> Self {
        Self::spoiling(Spoil {
            comments: Some(count),
            ..Spoil::default()
        })
    }

    /// Ends the lines of a stream with CR LF.
    pub fn crlf() -> Self {
        Self::spoiling(Spoil {
            crlf: true,
            ..Spoil::default()
        })
    }

    /// Sends the usage of a stream beside a repeated terminal choice instead of empty `choices`.
    pub fn usage_beside_finish() -> Self {
        Self::spoiling(Spoil {
            usage_beside_finish: true,
            ..Spoil::default()
        })
    }

    /// Meets the next `times` calls instead of one; zero drops the step.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Meets every call from here on.
    #[must_use]
    pub fn forever(self) -> Self {
        self.times(u64::MAX)
    }

    /// Waits before the head of the answer, whatever else the step does.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.spoil.delay = delay;
        self
    }

    /// Drips the body, whatever else the step does. See [`Step::drip`].
    #[must_use]
    pub fn dripping(mut self, bytes: usize, every: Duration) -> Self {
        self.spoil.drip = Some(Drip {
            bytes: bytes.max(1),
            every,
        });
        self
    }

    /// Breaks the body after `chunks` chunks, whatever else the step does.
    #[must_use]
    pub fn then_break(mut self, chunks: usize, how: Break) -> Self {
        self.spoil.after_chunks = Some((chunks, how));
        self
    }
}

/// All scripts of a mock, in the order they were added.
#[derive(Debug, Default)]
pub(crate) struct ScriptBook {
    scripts: Vec<(On, VecDeque<Step>)>,
}

impl ScriptBook {
    pub(crate) fn add(&mut self, on: On, steps: impl IntoIterator<Item = Step>) {
        let steps: VecDeque<Step> = steps.into_iter().filter(|step| step.times > 0).collect();
        if !steps.is_empty() {
            self.scripts.push((on, steps));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.scripts.clear();
    }

    /// Uses up a step of the first script that matches.
    pub(crate) fn take(&mut self, call: &CallFacts<'_>) -> Option<Spoil> {
        let at = self.scripts.iter().position(|(on, _)| on.matches(call))?;
        let steps = &mut self.scripts[at].1;
        let step = steps.front_mut()?;
        let spoil = step.spoil.clone();
        if step.times < u64::MAX {
            step.times -= 1;
        }
        if step.times == 0 {
            steps.pop_front();
        }
        if steps.is_empty() {
            self.scripts.remove(at);
        }
        Some(spoil)
    }

    /// How many calls are still to be met; `u64::MAX` when one of them goes on forever.
    pub(crate) fn remaining(&self) -> u64 {
        let steps = self.scripts.iter().flat_map(|(_, steps)| steps);
        steps.fold(0, |sum, step| sum.saturating_add(step.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(secret: &'a str, model: &'a str) -> CallFacts<'a> {
        CallFacts {
            secret: Some(secret),
            label: Some("a"),
            model: Some(model),
            path: "/chat/completions",
            inference: true,
        }
    }

    #[test]
    fn steps_are_used_up_in_order_and_then_the_script_is_gone() {
        let mut book = ScriptBook::default();
        book.add(
            On::key("k"),
            [
                Step::reset_before_head().times(2),
                Step::stall_before_head(),
            ],
        );
        let kinds: Vec<_> = std::iter::from_fn(|| book.take(&call("k", "m")))
            .map(|s| s.before_head)
            .collect();
        assert_eq!(
            kinds,
            [Some(Break::Reset), Some(Break::Reset), Some(Break::Stall)]
        );
        assert_eq!(book.remaining(), 0);
    }

    #[test]
    fn a_selector_matches_secret_or_label_and_all_of_its_parts() {
        let on = On::key("a").and_model("m");
        assert!(on.matches(&call("k", "m")));
        assert!(!on.matches(&call("k", "other")));
        assert!(!On::path("/key").matches(&call("k", "m")));
        assert!(On::path("/chat/completions").matches(&call("k", "m")));
        let key_info = CallFacts {
            path: "/key",
            inference: false,
            ..call("k", "m")
        };
        assert!(!On::any().matches(&key_info));
        assert!(On::path("/key").and_key("k").matches(&key_info));
        assert!(On::path("/*").matches(&key_info));
        for path in ["/key/*", "/ke*", "*"] {
            assert!(!On::path(path).matches(&key_info), "{path}");
        }
    }

    #[test]
    fn a_step_forever_is_never_used_up() {
        let mut book = ScriptBook::default();
        book.add(On::any(), [Step::pass().forever()]);
        for _ in 0..10 {
            assert!(book.take(&call("k", "m")).is_some());
        }
        assert_eq!(book.remaining(), u64::MAX);
    }
}
