//! Scripted answers: a fault in OpenRouter's words, or any bytes at all.

use bytes::Bytes;
use serde_json::Value;

use crate::fault::Fault;

/// An answer that a script gives instead of the mock's own.
#[derive(Clone, Debug)]
pub struct Reply(pub(crate) ReplyKind);

#[derive(Clone, Debug)]
pub(crate) enum ReplyKind {
    Fault(Box<Fault>),
    Raw(Raw),
}

/// An answer byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Each is one write, and one chunk to count for `after_chunks`.
    pub(crate) pieces: Vec<Bytes>,
}

impl Reply {
    /// An empty body with this status.
    pub fn status(status: u16) -> Self {
        Self::raw(status, Vec::new())
    }

    /// A JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::raw(status, vec![Bytes::from(body.to_string())])
            .header("content-type", "application/json")
    }

    /// A body of bytes, with no content type.
    pub fn bytes(status: u16, body: impl Into<Bytes>) -> Self {
        Self::raw(status, vec![body.into()])
    }

    /// A 200 event stream of these writes, sent as they are: line ends and `[DONE]` are yours to
    /// add.
    ///
    /// ```
    /// use fairkey_mock::Reply;
    ///
    /// let without_spaces = Reply::sse(["data:{\"a\":1}\r\n\r\n", "data:[DONE]\n\n"]);
    /// # let _ = without_spaces;
    /// ```
    pub fn sse<B: Into<Bytes>>(writes: impl IntoIterator<Item = B>) -> Self {
        Self::raw(200, writes.into_iter().map(Into::into).collect())
            .header("content-type", "text/event-stream")
    }

    /// Adds an HTTP header. A raw reply without one is sent as it is; for a fault see
    /// [`Fault::header`].
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        match &mut self.0 {
            ReplyKind::Raw(raw) => raw.headers.push((name.into(), value.into())),
            ReplyKind::Fault(fault) => {
                let with = fault.as_ref().clone().header(name, value);
                **fault = with;
            }
        }
        self
    }

    fn raw(status: u16, pieces: Vec<Bytes>) -> Self {
        Self(ReplyKind::Raw(Raw {
            status,
            headers: Vec::new(),
            pieces,
        }))
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        Self(ReplyKind::Fault(Box::new(fault)))
    }
}
