//! What a string is that is no text.

use super::PromptSize;

/// A kind of part that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Audio,
    File,
    Video,
    /// A file that is text.
    Text,
}

/// Bytes of a second of sound, by 32 tokens.
const AUDIO_BYTES: u64 = 8_000 / 32;
/// The same for WAV.
const WAV_BYTES: u64 = 32_000 / 32;
const FILE_BYTES: u64 = 64;
const VIDEO_BYTES: u64 = 400;

impl Kind {
    /// Returns what a part is by its `type`.
    pub(super) fn of_part(kind: &[u8]) -> Option<Self> {
        Some(match kind {
            b"image_url" | b"input_image" | b"image" => Self::Image,
            b"input_audio" | b"audio" => Self::Audio,
            b"file" | b"input_file" | b"document" => Self::File,
            b"video_url" | b"input_video" | b"video" => Self::Video,
            _ => return None,
        })
    }

    /// Returns what the value under a name is likely to be.
    pub(super) fn of_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"image_url" => Self::Image,
            b"input_audio" => Self::Audio,
            b"file" | b"file_data" => Self::File,
            b"video_url" => Self::Video,
            _ => return None,
        })
    }

    /// Returns what base64 is by how it begins.
    fn of_data(data: &[u8]) -> Option<Self> {
        // Some writers escape slashes.
        let begins = |with: &[u8]| data.starts_with(with);
        if begins(b"iVBORw0K") || begins(b"/9j/") || begins(b"\\/9j") || begins(b"R0lGOD") {
            Some(Self::Image)
        } else if begins(b"UklGR") {
            // RIFF is what WEBP and WAVE have in common.
            let is_webp = data.get(12..16) == Some(b"RUJQ");
            Some(if is_webp { Self::Image } else { Self::Audio })
        } else if begins(b"SUQz") || begins(b"T2dnUw") || begins(b"ZkxhQw") {
            Some(Self::Audio)
        } else if begins(b"JVBERi") {
            Some(Self::File)
        } else {
            None
        }
    }
}

/// Returns what a data URL of base64 holds, and that base64.
pub(super) fn data_url(text: &[u8]) -> Option<(Kind, &[u8])> {
    /// A type with its parameters is not longer.
    const HEAD: usize = 256;
    let rest = text.strip_prefix(b"data:")?;
    let head = &rest[..rest.len().min(HEAD)];
    let comma = head.iter().position(|byte| *byte == b',')?;
    if !head[..comma].ends_with(b";base64") {
        return None;
    }
    let kind = [
        (&b"image"[..], Kind::Image),
        (b"audio", Kind::Audio),
        (b"video", Kind::Video),
        (b"text", Kind::Text),
    ];
    let kind = kind.iter().find(|(word, _)| head.starts_with(word));
    Some((
        kind.map_or(Kind::File, |(_, kind)| *kind),
        &rest[comma + 1..],
    ))
}

/// Returns whether a string looks like base64 that is data.
pub(super) fn is_base64(text: &[u8]) -> bool {
    const LOOK: usize = 64;
    text.len() >= LOOK
        && (text[..LOOK].iter())
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=\\".contains(byte))
}

/// Counts base64 by how it begins, or else by the kind of its part. What nobody can tell is opaque,
/// and counts nothing: reasoning that only its provider can read is such.
pub(super) fn count(size: &mut PromptSize, kind: Option<Kind>, data: &[u8]) {
    let bytes = data.len() as u64 / 4 * 3;
    match Kind::of_data(data).or(kind) {
        Some(Kind::Image) => size.image.add(bytes, 0),
        Some(Kind::Audio) => {
            let is_wav = data.starts_with(b"UklGR");
            let each = if is_wav { WAV_BYTES } else { AUDIO_BYTES };
            size.audio.add(bytes, bytes.div_ceil(each));
        }
        Some(Kind::File) => size.file.add(bytes, bytes.div_ceil(FILE_BYTES)),
        Some(Kind::Video) => size.video.add(bytes, bytes.div_ceil(VIDEO_BYTES)),
        Some(Kind::Text) => {
            size.file.add(bytes, 0);
            size.text_bytes += bytes;
        }
        None => {}
    }
}
