//! Images, speech, transcripts, videos and files: enough of each for a client to be tried against.
//!
//! What is made follows from the request. Every model of the form `author/slug` is taken, at one
//! price for all; providers, limits and chance have no part in it, and scripts do.

mod multipart;

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

use crate::ask::tokens;
use crate::catalog::is_slug;
use crate::fault::Fault;
use crate::money::Money;
use crate::random::{Rng, hash};
use crate::reading::Found;
use crate::server::Shared;
use crate::world::{StoredFile, World};
use multipart::Multipart;

/// US dollars for an image.
const IMAGE: f64 = 0.04;
/// US dollars for a million characters that are spoken.
const SPEECH: f64 = 15.0;
/// US dollars for a million bytes that are listened to.
const LISTENING: f64 = 0.05;
/// US dollars for a video.
const VIDEO: f64 = 0.5;
/// Images of one call.
const MAX_IMAGES: u64 = 10;

/// A call to one of these endpoints; the text is the ID of a job or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MediaCall {
    Images,
    Speech,
    Transcribe,
    MakeVideo,
    Video(String),
    VideoContent(String),
    Upload,
    Files,
    File(String),
    FileContent(String),
    DeleteFile(String),
}

impl MediaCall {
    /// Whether a model is at work.
    pub(crate) fn infers(&self) -> bool {
        matches!(
            self,
            Self::Images | Self::Speech | Self::Transcribe | Self::MakeVideo
        )
    }
}

/// Answers such a call of a good key.
pub(crate) fn answer(
    shared: &Shared,
    call: &MediaCall,
    key: usize,
    head: &Parts,
    body: &Bytes,
) -> Result<Found, Fault> {
    let mut world = shared.world();
    if call.infers() {
        world.may_spend(key)?;
    }
    let made = Made {
        id: world.generation_id(),
        rng: Rng::new(&[shared.seed, hash(body)]),
    };
    match call {
        MediaCall::Images => images(&mut world, key, made, body),
        MediaCall::Speech => speech(&mut world, key, made, body),
        MediaCall::Transcribe => transcript(&mut world, key, made, head, body),
        MediaCall::MakeVideo => {
            let wish = object(body)?;
            model(&wish)?;
            required(&wish, "prompt")?;
            let job = world.add_video(key, made.id, Money::from_usd(VIDEO));
            Ok(Found::json(202, &job))
        }
        MediaCall::Video(id) => Ok(Found::json(200, &world.video(key, id)?)),
        MediaCall::VideoContent(id) => {
            world.finished_video(key, id)?;
            let mut bytes = b"\0\0\0\x18ftypmp42".to_vec();
            bytes.extend(noise(&mut Rng::new(&[hash(id.as_bytes())]), 4096));
            Ok(Found::bytes("video/mp4", bytes))
        }
        MediaCall::Upload => upload(&mut world, key, head, body),
        MediaCall::Files => Ok(Found::json(200, &world.files(key))),
        MediaCall::File(id) => Ok(Found::json(200, &world.file(key, id)?.shown())),
        MediaCall::FileContent(id) => {
            let content = world.file(key, id)?.content.clone();
            Ok(Found::bytes("application/octet-stream", content))
        }
        MediaCall::DeleteFile(id) => {
            world.delete_file(key, id)?;
            Ok(Found::json(200, &json!({"id": id, "type": "file_deleted"})))
        }
    }
}

/// What every generation has.
struct Made {
    id: String,
    rng: Rng,
}

fn images(world: &mut World, key: usize, made: Made, body: &[u8]) -> Result<Found, Fault> {
    let wish = object(body)?;
    model(&wish)?;
    required(&wish, "prompt")?;
    let count = wish.get("n").and_then(Value::as_u64).unwrap_or(1);
    if !(1..=MAX_IMAGES).contains(&count) {
        return Err(Fault::bad_request("n must be from 1 to 10"));
    }
    let cost = Money::from_usd(IMAGE).times(count);
    world.spend_on(key, cost);
    let Made { id, mut rng } = made;
    let pictures: Vec<String> = (0..count).map(|_| picture(&mut rng)).collect();
    let usage = json!({
        "prompt_tokens": 0,
        "completion_tokens": 4175 * count,
        "total_tokens": 4175 * count,
        "cost": cost.usd(),
    });
    let created = world.clock.now().unix_seconds();
    if wish.get("stream") != Some(&Value::Bool(true)) {
        let data: Vec<Value> = pictures
            .iter()
            .map(|b64| json!({ "b64_json": b64 }))
            .collect();
        let body = json!({"created": created, "data": data, "usage": usage});
        return Ok(Found::json(200, &body).generated(id));
    }
    let mut events = Vec::new();
    for picture in &pictures {
        for (number, part) in [(0, picture.len() / 3), (1, picture.len() / 2)] {
            events.push(json!({
                "type": "image_generation.partial_image",
                "partial_image_index": number,
                // Whole groups of four letters, so that each part can be decoded.
                "b64_json": picture[..part / 4 * 4],
            }));
        }
        let kind = "image_generation.completed";
        events.push(json!({"type": kind, "created": created, "b64_json": picture, "usage": usage}));
    }
    let frames = events.iter().map(|event| format!("data: {event}\n\n"));
    let frames = frames.chain(["data: [DONE]\n\n".to_owned()]);
    Ok(Found::events(frames.map(Bytes::from).collect()).generated(id))
}

fn speech(world: &mut World, key: usize, made: Made, body: &[u8]) -> Result<Found, Fault> {
    let wish = object(body)?;
    model(&wish)?;
    let text = required(&wish, "input")?;
    let content_type = match wish.get("response_format").and_then(Value::as_str) {
        None | Some("pcm") => "audio/pcm",
        Some("mp3") => "audio/mpeg",
        Some("wav") => "audio/wav",
        Some("opus") => "audio/ogg",
        Some(_) => return Err(Fault::bad_request("response_format is none of the known")),
    };
    let letters = text.chars().count() as u64;
    world.spend_on(key, Money::per_million(SPEECH).times(letters));
    let Made { id, mut rng } = made;
    // About a twentieth of a second a letter.
    let sound = noise(&mut rng, text.len().saturating_mul(256).min(1 << 20));
    Ok(Found::bytes(content_type, sound).generated(id))
}

fn transcript(
    world: &mut World,
    key: usize,
    made: Made,
    head: &Parts,
    body: &Bytes,
) -> Result<Found, Fault> {
    let heard = match Multipart::of(head, body)? {
        Some(form) => {
            let name = form.text("model").unwrap_or_default();
            if !is_slug(&name) {
                return Err(Fault::model_not_found(&name));
            }
            let file = form.part("file");
            file.ok_or_else(|| missing("file"))?.content.len()
        }
        None => {
            let wish = object(body)?;
            model(&wish)?;
            let data = wish.get("input_audio").and_then(|audio| audio.get("data"));
            data.and_then(Value::as_str)
                .ok_or_else(|| missing("input_audio"))?
                .len()
                * 3
                / 4
        }
    };
    let cost = Money::per_million(LISTENING).times(heard as u64);
    world.spend_on(key, cost);
    let Made { id, mut rng } = made;
    let text = format!("A recording of {heard} bytes, number {}.", rng.below(1000));
    let (input, output) = (tokens(heard), tokens(text.len()));
    let body = json!({
        "text": text,
        "usage": {
            "seconds": heard as f64 / 32_000.0,
            "input_tokens": input,
            "output_tokens": output,
            "total_tokens": input + output,
            "cost": cost.usd(),
        },
    });
    Ok(Found::json(200, &body).generated(id))
}

fn upload(world: &mut World, key: usize, head: &Parts, body: &Bytes) -> Result<Found, Fault> {
    let form = Multipart::of(head, body)?;
    let form = form.ok_or_else(|| Fault::bad_request("Send the file as multipart/form-data"))?;
    let part = form.part("file").ok_or_else(|| missing("file"))?;
    let name = part.file_name.clone();
    let kind = part.content_type.clone();
    let file = StoredFile::new(
        name.unwrap_or_else(|| "file".to_owned()),
        kind.unwrap_or_else(|| "application/octet-stream".to_owned()),
        &part.content,
    );
    Ok(Found::json(200, &world.add_file(key, file)))
}

fn object(body: &[u8]) -> Result<serde_json::Map<String, Value>, Fault> {
    serde_json::from_slice(body)
        .map_err(|error| Fault::bad_request(format!("Invalid request body: {error}")))
}

fn model(wish: &serde_json::Map<String, Value>) -> Result<(), Fault> {
    let name = required(wish, "model")?;
    if is_slug(name) {
        return Ok(());
    }
    Err(Fault::model_not_found(name))
}

fn required<'a>(wish: &'a serde_json::Map<String, Value>, name: &str) -> Result<&'a str, Fault> {
    let text = wish.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
        .ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Fault {
    Fault::bad_request(format!("Input required: specify \"{name}\""))
}

/// Base64 of something that begins like a PNG.
fn picture(rng: &mut Rng) -> String {
    format!("iVBORw0KGgoA{}", rng.alphanumeric(244))
}

fn noise(rng: &mut Rng, len: usize) -> Vec<u8> {
    let words = std::iter::repeat_with(|| rng.next().to_le_bytes());
    words.flatten().take(len).collect()
}
