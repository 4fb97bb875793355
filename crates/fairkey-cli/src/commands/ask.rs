//! `fairkey ask`.

mod failure;

use std::io::{self, Read};

use fairkey_client::{CallError, CallOptions, ChatStream};
use fairkey_core::Class;
use fairkey_openrouter::{ChatRequest, endpoint};
use serde_json::json;

use crate::args::AskArgs;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::table::{count, usd};
use crate::terminal;
use crate::upstream::{Purpose, Upstream};

/// Asks one question.
pub(crate) async fn ask(args: AskArgs) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            terminal::error(&format!("signals cannot be heard: {error}"));
            return Exit::Usage;
        }
    };
    tokio::select! {
        exit = answer(&args) => exit,
        () = signals.next() => {
            terminal::say("\ninterrupted");
            Exit::Interrupted
        }
    }
}

async fn answer(args: &AskArgs) -> Exit {
    let prompt = match prompt(&args.prompt).await {
        Ok(prompt) => prompt,
        Err(message) => {
            terminal::error(&message);
            return Exit::Usage;
        }
    };
    let upstream = match Upstream::open(&args.upstream, Purpose::Question).await {
        Ok(upstream) => upstream,
        Err(message) => {
            terminal::error(&message);
            return Exit::Usage;
        }
    };
    upstream.warn();
    let (request, options) = match request(args, prompt, &upstream) {
        Ok(request) => request,
        Err(message) => {
            terminal::error(&message);
            return Exit::Usage;
        }
    };
    let exit = match upstream.client.chat_stream_with(&request, options).await {
        Ok(stream) => print(stream, args.json).await,
        Err(error) => {
            let now = upstream.client.pool().now();
            terminal::error(&failure::describe(&error, now));
            Exit::Failed
        }
    };
    upstream.close();
    exit
}

/// Prints an answer as it comes.
async fn print(mut stream: ChatStream, as_json: bool) -> Exit {
    let mut text = String::new();
    let mut failed: Option<CallError> = None;
    while let Some(chunk) = stream.next().await {
        let delta = match chunk {
            Ok(chunk) => chunk.text(),
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        if as_json {
            text.push_str(&delta);
        } else if let Err(error) = terminal::print(&delta) {
            return unprintable(&error);
        }
    }
    let cost = stream.cost();
    let printed = if as_json {
        let answer = json!({
            "text": text,
            "complete": failed.is_none(),
            "model": stream.model(),
            "provider": stream.provider(),
            "generation": stream.generation(),
            "finish_reason": stream.finish_reason().map(ToString::to_string),
            "key": stream.key().as_str(),
            "attempts": stream.attempts().len(),
            "tokens": cost.map(|cost| cost.tokens),
            "cost_usd": cost.map(|cost| cost.micro_usd as f64 / 1e6),
        });
        terminal::print(&format!("{answer}\n"))
    } else {
        terminal::print("\n")
    };
    if let Err(error) = printed {
        return unprintable(&error);
    }
    let account = stream
        .attempts()
        .last()
        .and_then(|attempt| attempt.account.clone());
    let account = account
        .map(|account| format!(" of account \"{account}\""))
        .unwrap_or_default();
    let spent = match cost {
        Some(cost) => format!("{}, {}", count(cost.tokens, "token"), usd(cost.micro_usd)),
        None => "cost unknown".to_owned(),
    };
    let model = stream
        .model()
        .map(|model| format!(" with {model}"))
        .unwrap_or_default();
    terminal::say(&format!(
        "served by key \"{}\"{account}{model}, {}: {spent}",
        stream.key(),
        count(stream.attempts().len() as u64, "attempt"),
    ));
    match failed {
        None => Exit::Done,
        Some(error) => {
            terminal::error(&format!("the answer broke off: {error}"));
            Exit::Failed
        }
    }
}

/// Nobody reads any more, which is all right; anything else is not.
fn unprintable(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Exit::Done;
    }
    terminal::error(&format!("the answer cannot be written: {error}"));
    Exit::Failed
}

async fn prompt(argument: &str) -> Result<String, String> {
    let prompt = if argument == "-" {
        let read = tokio::task::spawn_blocking(|| {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        });
        match read.await {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => return Err(format!("standard input cannot be read: {error}")),
            Err(error) => return Err(format!("standard input cannot be read: {error}")),
        }
    } else {
        argument.to_owned()
    };
    if prompt.trim().is_empty() {
        return Err("the prompt is empty".to_owned());
    }
    Ok(prompt)
}

/// Makes the request, by the route that it names, if it does.
fn request(
    args: &AskArgs,
    prompt: String,
    upstream: &Upstream,
) -> Result<(ChatRequest, CallOptions), String> {
    let mut request = ChatRequest {
        model: upstream.model(args.model.as_ref(), args.route.as_ref())?,
        ..ChatRequest::default()
    };
    if let Some(system) = &args.system {
        request = request.system(system.as_str());
    }
    if let Some(max_tokens) = args.max_tokens {
        request = request.max_tokens(max_tokens);
    }
    let request = request.user(prompt);
    let routed = upstream
        .profiles
        .apply(endpoint::CHAT_COMPLETIONS, &request.to_bytes())
        .map_err(|error| error.to_string())?;
    let Some(routed) = routed else {
        let options = of_somebody_who_waits(&request);
        return Ok((request, options));
    };
    let request = ChatRequest::from_slice(&routed.body)
        .map_err(|error| format!("route {:?} makes no request: {error}", routed.name))?;
    let options = of_somebody_who_waits(&request).routed(&routed);
    Ok((request, options))
}

fn of_somebody_who_waits(request: &ChatRequest) -> CallOptions {
    CallOptions {
        class: Class::Interactive,
        ..CallOptions::of_chat(request)
    }
}
