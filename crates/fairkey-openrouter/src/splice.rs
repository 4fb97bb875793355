//! Editing the top-level members of a JSON body without touching any other byte.
//!
//! A body that somebody else wrote passes byte for byte: OpenRouter's response cache hashes it,
//! numbers may have more digits than any type of ours, and what is parsed and printed again is not
//! the same body. So what has to be added, replaced or removed is spliced in between the bytes that
//! are there. That is also quick: members that are not touched are skipped, not parsed.
//!
//! # What is checked
//!
//! The body has to be one JSON object, with white space and a byte order mark around it at most.
//! Its top-level members are checked in full, but for the inside of strings, lists and objects: in
//! there, strings have to end and brackets to match, and nothing else is looked at. Every valid JSON
//! object passes; that what passes is valid JSON all the way down is not promised.
//!
//! # Members that come twice
//!
//! Names are compared as JSON does, after their escapes: `"mod\u0065l"` is `model`. Where a name
//! comes several times the last one counts, as for nearly every parser. [`Splice::set`] replaces the
//! last one where it stands and removes the earlier ones, and [`Splice::remove`] removes all, so
//! that a parser for which the first counts reads the same. Members that are not edited stay as
//! they are, how often ever they come.
//!
//! # Example
//!
//! ```
//! use fairkey_openrouter::splice::{self, Splice};
//!
//! let body = br#"{ "model": "a/b",  "n": 1.0000000000000000001, "messages": [ ] }"#;
//! let peek = splice::peek(body)?;
//! assert_eq!(peek.model.as_deref(), Some("a/b"));
//!
//! let edited = Splice::new(body.as_slice())
//!     .set("model", "a/c")
//!     .set("user", "u-1")
//!     .remove("messages")
//!     .finish()?;
//! assert_eq!(edited, r#"{ "model": "a/c",  "n": 1.0000000000000000001,"user":"u-1" }"#);
//! # Ok::<(), splice::SpliceError>(())
//! ```

mod edit;
mod error;
pub(crate) mod peek;
pub(crate) mod scan;
pub(crate) mod skip;

pub use edit::Splice;
pub use error::SpliceError;
pub use peek::{Peek, find, peek};
pub use scan::{Member, Members, members};
