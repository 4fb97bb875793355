//! What `fairkey route` is asked about.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fairkey_openrouter::profile::Profiles;
use fairkey_openrouter::{ChatRequest, ModelEndpoints, endpoint};
use serde_json::Value;

use crate::args::RouteArgs;
use crate::upstream;

/// The most bytes of a request or a list.
const MOST_BYTES: u64 = 64 << 20;

/// What is asked about.
pub(super) struct Asked {
    /// The request, as its first attempt is sent.
    pub(super) request: ChatRequest,
    /// The route that made it.
    pub(super) route: Option<String>,
    /// The models that further attempts ask for.
    pub(super) rest: Vec<String>,
}

impl Asked {
    /// Returns the request with all models of its route.
    pub(super) fn whole(&self) -> ChatRequest {
        let mut request = self.request.clone();
        if !self.rest.is_empty() {
            let all = self.request.candidates().into_iter().map(str::to_owned);
            request.models = Some(all.chain(self.rest.iter().cloned()).collect());
        }
        request
    }
}

/// Reads the request, or makes it from a prompt.
///
/// # Errors
///
/// Says what is wrong with it, without repeating it.
pub(super) async fn request(args: &RouteArgs, profiles: &Profiles) -> Result<Asked, String> {
    let mut request = match &args.request {
        Some(path) => {
            let (name, bytes) = read(path).await?;
            parse(&name, &bytes)?
        }
        None => ChatRequest::default().user(args.prompt.clone().unwrap_or_default()),
    };
    let model = upstream::named(profiles, args.model.as_ref(), args.route.as_ref())?;
    if let Some(model) = model {
        request.model = Some(model);
        request.models = None;
    }
    if let Some(most) = args.max_tokens {
        request.max_tokens = Some(most);
        request.max_completion_tokens = None;
    }
    if request.candidates().is_empty() {
        return Err("the request names no model: name one with --model author/slug".to_owned());
    }
    let routed = profiles
        .apply(endpoint::CHAT_COMPLETIONS, &request.to_bytes())
        .map_err(|error| error.to_string())?;
    let Some(routed) = routed else {
        return Ok(Asked {
            request,
            route: None,
            rest: Vec::new(),
        });
    };
    let mut request = ChatRequest::from_slice(&routed.body)
        .map_err(|error| format!("route {:?} makes no request: {error}", routed.name))?;
    // As many as the first attempt asks for; the client goes on with the rest.
    let (first, rest) = routed
        .models
        .split_at(routed.models.len().min(routed.at_once));
    if first.len() > 1 {
        request.models = Some(first.to_vec());
    }
    Ok(Asked {
        request,
        route: Some(routed.name),
        rest: rest.to_vec(),
    })
}

fn parse(name: &str, bytes: &[u8]) -> Result<ChatRequest, String> {
    if bytes.trim_ascii().is_empty() {
        return Err(format!("{name} is empty: a request is a JSON object"));
    }
    let value: Value = serde_json::from_slice(without_bom(bytes)).map_err(|error| {
        format!(
            "{name} is no JSON at line {} column {}; for a plain prompt use --prompt",
            error.line(),
            error.column()
        )
    })?;
    // A line of a batch file has it inside.
    let value = match value {
        Value::Object(mut line) if line.contains_key("body") && !line.contains_key("messages") => {
            line.remove("body").unwrap_or_default()
        }
        other => other,
    };
    if !value.is_object() {
        return Err(format!("{name} is JSON, and no object: a request is one"));
    }
    serde_json::from_value(value).map_err(|error| {
        // What serde repeats in quotes may be a prompt.
        let text = error.to_string();
        let text = text
            .split('"')
            .next()
            .unwrap_or_default()
            .trim_end_matches("string ");
        format!("{name} is no chat request: {text}")
    })
}

/// Reads lists of endpoints: each an answer of the API, or an array of them.
///
/// # Errors
///
/// Says what is wrong, and with which file.
pub(super) fn endpoints(paths: &[PathBuf]) -> Result<Vec<ModelEndpoints>, String> {
    let mut all = Vec::new();
    for path in paths {
        let name = path.display();
        let bytes = read_file(path)?;
        let value: Value = serde_json::from_slice(without_bom(&bytes)).map_err(|error| {
            format!(
                "{name} is no JSON at line {} column {}",
                error.line(),
                error.column()
            )
        })?;
        let lists = match value {
            Value::Array(lists) => lists,
            one => vec![one],
        };
        if lists.is_empty() {
            return Err(format!("{name} has no list of endpoints in it"));
        }
        for list in lists {
            let has = |value: &Value| value.get("endpoints").is_some_and(Value::is_array);
            let is_list = has(&list) || list.get("data").is_some_and(has);
            let list = ModelEndpoints::from_slice(list.to_string().as_bytes())
                .ok()
                .filter(|list| is_list && !list.id.is_empty());
            all.push(list.ok_or_else(|| {
                format!(
                    "{name} is no list of endpoints: those are what \
                     /models/AUTHOR/SLUG/endpoints answers, with \"id\" and \"endpoints\""
                )
            })?);
        }
    }
    Ok(all)
}

async fn read(path: &Path) -> Result<(String, Vec<u8>), String> {
    if path.as_os_str() != "-" {
        return Ok((path.display().to_string(), read_file(path)?));
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        io::stdin()
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .map(|_| bytes)
    });
    let name = "standard input".to_owned();
    match read.await {
        Ok(Ok(bytes)) => Ok((name, bytes)),
        Ok(Err(error)) => Err(format!("{name} cannot be read: {error}")),
        Err(error) => Err(format!("{name} cannot be read: {error}")),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.display();
    let wrong = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {name}"),
        io::ErrorKind::IsADirectory => format!("{name} is a folder; name a file"),
        _ => format!("{name} cannot be read: {error}"),
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(wrong)?;
    let read = file
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    if read as u64 > MOST_BYTES {
        return Err(format!("{name} has more than 64 MiB"));
    }
    Ok(bytes)
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
