//! `fairkey route`.

mod input;

use fairkey_core::{SystemWallClock, WallClock};
use fairkey_openrouter::check::{Checks, Finding, Severity};
use fairkey_openrouter::route::{self, Context, Plan};
use fairkey_openrouter::{
    ChatRequest, ModelEndpoints, ProviderList, ProviderPreferences, ZdrEndpoints,
};
use serde::Serialize;
use serde_json::json;

use self::input::Asked;
use crate::args::RouteArgs;
use crate::catalog::{self, Source};
use crate::config::Config;
use crate::exit::Exit;
use crate::{redaction, terminal};

/// Says which endpoints may serve a request.
pub(crate) async fn route(args: RouteArgs) -> Exit {
    let (asked, known) = match prepare(&args).await {
        Ok(prepared) => prepared,
        Err((exit, message)) => {
            terminal::error(&message);
            return exit;
        }
    };
    let (findings, refused) = check(&args, &asked.request, known.providers.as_ref());
    let mut context = Context::new().utc(hhmm());
    if let Some(zdr) = &known.zdr {
        context = context.zdr(zdr);
    }
    if let Some(providers) = &known.providers {
        context = context.providers(providers);
    }
    let plan = route::plan(&asked.whole(), &known.endpoints, &context);
    print(&args, &asked, &plan, &findings, refused);
    if plan.candidates.is_empty() || refused {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// What is known beside the request.
#[derive(Default)]
struct Known {
    endpoints: Vec<ModelEndpoints>,
    zdr: Option<ZdrEndpoints>,
    providers: Option<ProviderList>,
}

async fn prepare(args: &RouteArgs) -> Result<(Asked, Known), (Exit, String)> {
    let usage = |message| (Exit::Usage, message);
    if args.endpoints.is_empty() {
        let source = Source::open(&args.catalog).await.map_err(usage)?;
        let asked = input::request(args, &source.profiles)
            .await
            .map_err(usage)?;
        let known = ask(&source, &asked.whole()).await;
        source.tell_warnings();
        let known = known.map_err(|message| (Exit::Failed, message))?;
        return Ok((asked, known));
    }
    let config = Config::load(args.catalog.config.as_deref());
    let config = config.map_err(|error| usage(error.to_string()))?;
    let asked = input::request(args, &config.profiles)
        .await
        .map_err(usage)?;
    let known = Known {
        endpoints: input::endpoints(&args.endpoints).map_err(usage)?,
        ..Known::default()
    };
    Ok((asked, known))
}

/// Asks the catalogue about every model of the request.
async fn ask(source: &Source, request: &ChatRequest) -> Result<Known, String> {
    let mut known = Known::default();
    let models = request.candidates();
    let mut unknown = Vec::new();
    for model in &models {
        match source.endpoints(model).await {
            Ok(list) => known.endpoints.push((*list.value).clone()),
            Err(message) => unknown.push(message),
        }
    }
    if known.endpoints.is_empty() && !unknown.is_empty() {
        return Err(unknown.join("; "));
    }
    unknown.iter().for_each(|message| terminal::warn(message));
    match source.catalog.zdr().await {
        Ok(list) => {
            catalog::tell_age(&list, "the endpoints with zero data retention");
            known.zdr = Some((*list.value).clone());
        }
        Err(error) => terminal::warn(&format!(
            "which endpoints retain no data is not known: {error}"
        )),
    }
    match source.catalog.providers().await {
        Ok(list) => known.providers = Some((*list.value).clone()),
        Err(error) => terminal::warn(&format!("the providers are not known: {error}")),
    }
    Ok(known)
}

/// Checks the request; returns whether it is refused, too.
fn check(
    args: &RouteArgs,
    request: &ChatRequest,
    providers: Option<&ProviderList>,
) -> (Vec<Finding>, bool) {
    let mut checks = Checks::new(args.check.into());
    if let Some(providers) = providers {
        checks = checks.providers(providers);
    }
    match checks.run(request) {
        Ok(findings) => (findings, false),
        Err(error) => (error.findings().to_vec(), true),
    }
}

fn print(args: &RouteArgs, asked: &Asked, plan: &Plan, findings: &[Finding], refused: bool) {
    let text = if args.json {
        let shown = json!({
            "route": asked.route,
            "models": asked.whole().candidates(),
            "request": Sent::of(&asked.request),
            "eligible": !plan.candidates.is_empty() && !refused,
            "refused": refused,
            "findings": findings,
            "plan": plan,
        });
        format!("{shown:#}\n")
    } else {
        for finding in findings {
            let text = finding.to_string();
            match (finding.severity, text.split_once(": ")) {
                (Severity::Error, Some((_, rest))) => terminal::error(rest),
                (Severity::Warning, Some((_, rest))) => terminal::warn(rest),
                _ => terminal::say(&text),
            }
        }
        if let Some(route) = &asked.route {
            let first = asked.request.candidates().join(", ");
            let rest = match asked.rest.as_slice() {
                [] => String::new(),
                rest => format!("; then, where they fail, {}", rest.join(", ")),
            };
            terminal::say(&format!("route {route}: {first}{rest}"));
        }
        if refused {
            terminal::say("the request would be refused; --check warn plans it all the same");
        }
        // What comes from elsewhere must not move the cursor.
        let plan = plan.to_string();
        plan.replace(|c: char| c.is_control() && c != '\n', " ")
    };
    // Whoever reads it may have seen enough.
    let _ = terminal::print(&redaction::clean(&text));
}

/// What a request says on routing, as it is sent; not what it asks.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a ProviderPreferences>,
}

impl<'a> Sent<'a> {
    fn of(request: &'a ChatRequest) -> Self {
        Self {
            model: request.model.as_deref(),
            models: request.models.as_deref(),
            provider: request.provider.as_ref(),
        }
    }
}

/// Returns the time of day in UTC, as prices by the hour want it.
fn hhmm() -> u16 {
    let minutes = SystemWallClock.since_epoch().as_secs() / 60 % 1_440;
    u16::try_from(minutes / 60 * 100 + minutes % 60).unwrap_or(0)
}
