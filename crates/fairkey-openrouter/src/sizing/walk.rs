//! Walking over a member that holds part of the prompt: [`Walk`].

use super::PromptSize;
use super::media::{self, Kind};
use crate::splice::SpliceError;
use crate::splice::scan::{Brackets, Scan};
use crate::splice::skip::{measured_string, to_quote_or_bracket};

/// What a member of the body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Messages, items, inputs: what is said.
    Content,
    /// What is said, or tokens of it.
    Input,
    /// Data of a sound.
    Audio,
    /// Descriptions of tools and answers.
    Schema,
}

impl Section {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "messages" | "system" | "instructions" | "query" | "documents" => Self::Content,
            "input" | "prompt" => Self::Input,
            "input_audio" => Self::Audio,
            "tools" | "functions" | "response_format" | "text" => Self::Schema,
            _ => return None,
        })
    }
}

/// What a string is by the name that it stands under.
enum Role {
    /// The type of a part.
    Type,
    Detail,
    /// Form: no text.
    Form,
    /// Text, whatever it looks like.
    Said,
    /// Data, where it looks like that.
    Data,
    /// Text, unless it is a data URL.
    Other,
}

impl Role {
    fn of(name: &[u8]) -> Self {
        match name {
            b"type" => Self::Type,
            b"detail" => Self::Detail,
            b"role" | b"id" | b"call_id" | b"tool_call_id" | b"tool_use_id" | b"file_id"
            | b"status" | b"format" | b"media_type" | b"ttl" | b"signature"
            | b"encrypted_content" => Self::Form,
            b"text" | b"content" | b"arguments" | b"output" | b"thinking" | b"reasoning" => {
                Self::Said
            }
            b"data" | b"file_data" | b"b64_json" | b"result" | b"image_url" => Self::Data,
            _ => Self::Other,
        }
    }
}

/// A walk over one value.
pub(super) struct Walk<'s, 'a> {
    scan: &'s mut Scan<'a>,
    size: &'s mut PromptSize,
    section: Section,
    /// What the part is that the walk is in, as far as it has said.
    part: Option<Kind>,
}

impl<'s, 'a> Walk<'s, 'a> {
    pub(super) fn new(scan: &'s mut Scan<'a>, size: &'s mut PromptSize, section: Section) -> Self {
        let part = (section == Section::Audio).then_some(Kind::Audio);
        Self {
            scan,
            size,
            section,
            part,
        }
    }

    /// Walks over the value, and counts what is in it.
    pub(super) fn value(mut self) -> Result<(), SpliceError> {
        match self.scan.peek() {
            Some(b'"') => {
                let (inside, bytes) = self.string()?;
                if self.section != Section::Schema {
                    self.size.messages += 1;
                }
                self.count(b"", inside, bytes);
                Ok(())
            }
            Some(b'{' | b'[') => self.nested(),
            _ => self.scan.value(),
        }
    }

    /// Reads a string from its first quote behind its last: its inside, and how many bytes it has
    /// without escapes.
    fn string(&mut self) -> Result<(&'a [u8], usize), SpliceError> {
        let body = self.scan.body;
        let begin = self.scan.at + 1;
        match measured_string(body, begin) {
            Some((end, bytes)) => {
                self.scan.at = end + 1;
                Ok((&body[begin..end], bytes))
            }
            None => {
                self.scan.at = body.len();
                self.scan.error("a string does not end")
            }
        }
    }

    fn nested(&mut self) -> Result<(), SpliceError> {
        let body = self.scan.body;
        let mut open = Brackets::default();
        // Of the value to come, where it has one.
        let mut name: &[u8] = b"";
        while let Some(at) = to_quote_or_bracket(body, self.scan.at) {
            self.scan.at = at;
            match body[at] {
                b'"' => {
                    let (inside, bytes) = self.string()?;
                    if open.is_brace() && self.is_name() {
                        name = inside;
                        self.name(inside, bytes);
                    } else {
                        self.count(name, inside, bytes);
                        name = b"";
                    }
                    continue;
                }
                byte @ (b'{' | b'[') => {
                    let is_brace = byte == b'{';
                    if is_brace {
                        name = b"";
                        let is_item = open.depth == 1 && !open.is_brace();
                        if is_item && self.section != Section::Schema {
                            self.size.messages += 1;
                        }
                    } else if self.section == Section::Input {
                        self.size.tokens += numbers(&body[at + 1..]);
                    }
                    open.push(is_brace);
                }
                byte => {
                    if open.pop() != (byte == b'}') {
                        return self.scan.error("a bracket does not match");
                    }
                    name = b"";
                    if open.depth == 0 {
                        self.scan.at += 1;
                        return Ok(());
                    }
                }
            }
            self.scan.at += 1;
        }
        self.scan.at = body.len();
        self.scan.error("a bracket is not closed")
    }

    /// Tells whether the string that was just read is the name of a member.
    fn is_name(&self) -> bool {
        let rest = &self.scan.body[self.scan.at..];
        rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
    }

    fn name(&mut self, name: &[u8], bytes: usize) {
        if name == b"cache_control" {
            self.size.writes_cache = true;
        } else if self.section == Section::Schema {
            self.size.schema_bytes += bytes as u64 + 2;
        } else if let Some(kind) = Kind::of_name(name) {
            self.part = Some(kind);
        }
    }

    /// Counts a string that stands under `name`; under none in a list.
    fn count(&mut self, name: &[u8], inside: &[u8], bytes: usize) {
        if self.section == Section::Schema {
            self.size.schema_bytes += bytes as u64 + 2;
            return;
        }
        match Role::of(name) {
            Role::Type => self.part_type(inside),
            Role::Detail => self.size.low_detail_images += u64::from(inside == b"low"),
            Role::Form => {}
            Role::Said => self.size.text_bytes += bytes as u64,
            role => match media::data_url(inside) {
                Some((kind, data)) => media::count(self.size, Some(kind), data),
                None if matches!(role, Role::Data) && media::is_base64(inside) => {
                    media::count(self.size, self.part, inside);
                }
                None => self.size.text_bytes += bytes as u64,
            },
        }
    }

    fn part_type(&mut self, kind: &[u8]) {
        match Kind::of_part(kind) {
            Some(kind) => {
                self.part = Some(kind);
                match kind {
                    Kind::Image => self.size.image.parts += 1,
                    Kind::Audio => self.size.audio.parts += 1,
                    Kind::File | Kind::Text => self.size.file.parts += 1,
                    Kind::Video => self.size.video.parts += 1,
                }
            }
            // How the data of a part is given.
            None if kind == b"base64" || kind == b"url" => {}
            None => self.part = None,
        }
    }
}

/// Returns how many numbers the list has that begins here; none where it holds anything else.
fn numbers(list: &[u8]) -> u64 {
    let first = list.iter().find(|byte| !byte.is_ascii_whitespace());
    if !first.is_some_and(u8::is_ascii_digit) {
        return 0;
    }
    let Some(end) = to_quote_or_bracket(list, 0).filter(|end| list[*end] == b']') else {
        return 0;
    };
    1 + list[..end].iter().filter(|byte| **byte == b',').count() as u64
}
