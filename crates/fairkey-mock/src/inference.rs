//! An inference call: let in or not, routed to a provider, answered or failed.

mod content;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};

use crate::answer::Answer;
use crate::ask::{Ask, Shape};
use crate::body::{BrokenOff, MockBody};
use crate::cache::{CacheWish, Hit};
use crate::call::{Bill, Call};
use crate::catalog::Entry;
use crate::chance::{Effect, Latency, Rates};
use crate::clock::Timestamp;
use crate::connection::Link;
use crate::endpoints::{break_off, fault_response, json_response, refuse, response};
use crate::fault::Fault;
use crate::random::Rng;
use crate::routing::{Variant, route};
use crate::script::Spoil;
use crate::server::Shared;
use crate::stream::{AnswerStream, Phase};
use crate::wire::{self, Preamble, Usage};
use crate::world::{Admission, CacheKey};

use content::{ranked, router_metadata};
pub(crate) use content::{vector, whole};

/// A call with a good key, before anything else of it was looked at.
pub(crate) struct Dispatch<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) link: Option<&'a Arc<Link>>,
    pub(crate) key: usize,
    pub(crate) user_id: Arc<str>,
    pub(crate) shape: Shape,
    pub(crate) body: &'a [u8],
    pub(crate) body_hash: u64,
    pub(crate) spoil: Spoil,
    /// The fault inside a 200 that a script wants.
    pub(crate) forced: Option<Fault>,
    pub(crate) wants_metadata: bool,
    pub(crate) cache: Option<CacheWish>,
}

/// What is decided under the world's lock.
struct LetIn {
    admission: Admission,
    rng: Rng,
    latency: Latency,
    rates: Arc<Rates>,
    account: usize,
    now: Timestamp,
}

/// The provider that a call came to, and what befell it there.
struct Routed {
    entry: Arc<Entry>,
    provider: usize,
    effect: Option<Effect>,
}

pub(crate) async fn answer(
    dispatch: Dispatch<'_>,
    ask: Result<Ask, Fault>,
    mut call: Call,
) -> Result<Response<MockBody>, BrokenOff> {
    let shared = dispatch.shared;
    let (ask, entries) = match readable(&dispatch, ask) {
        Ok(readable) => readable,
        Err(fault) => return Ok(refuse(shared, call, &fault, Some(&dispatch.user_id))),
    };
    let hit = cached(&dispatch, &ask);
    let served = entries
        .iter()
        .find(|(entry, _)| !entry.providers.is_empty());
    let hit = hit.filter(|_| served.is_some());
    let mut let_in = match let_in(&dispatch, &ask, &entries[0].0, hit.is_some()) {
        Ok(let_in) => let_in,
        Err(fault) => return Ok(refuse(shared, call, &fault, Some(&dispatch.user_id))),
    };
    let routed = match (&hit, served) {
        (Some(_), Some((entry, _))) => Ok(Routed {
            entry: Arc::clone(entry),
            provider: 0,
            effect: None,
        }),
        _ => routed(&dispatch, &ask, &entries, &mut let_in),
    };
    let routed = match routed {
        Ok(routed) => routed,
        Err(failed) => {
            shared
                .world()
                .settle(&let_in.admission, crate::money::Money::ZERO, 0);
            return Ok(match failed {
                Failed::Rules(fault) => refuse(shared, call, &fault, Some(&dispatch.user_id)),
                Failed::Providers(fault) => {
                    call.fault(fault.status(), fault.name());
                    fault_response(
                        shared,
                        &fault,
                        Some(&dispatch.user_id),
                        call.speaks_messages(),
                    )
                }
            });
        }
    };
    let (mut spoil, mut fault) = (dispatch.spoil, dispatch.forced);
    match routed.effect {
        Some(Effect::Spoil(chance)) => {
            spoil.before_head = chance.before_head;
            spoil.after_chunks = spoil.after_chunks.or(chance.after_chunks);
        }
        Some(Effect::Fault(chance)) => fault = fault.or(Some(*chance)),
        None => {}
    }
    let latency = if hit.is_some() {
        Latency::default()
    } else {
        let_in.latency
    };
    let to_head = latency.draw(latency.first_token / 2, &mut let_in.rng);
    let length = shared.answer_tokens;
    let answer = Answer::to(&ask, shared.seed, length);
    let entry = routed.entry;
    let preamble = Preamble {
        id: generation_id(let_in.now, &mut let_in.rng),
        created: let_in.now.unix_seconds(),
        model: Arc::clone(&entry.id),
        provider: Arc::clone(&entry.providers[routed.provider]),
        shape: dispatch.shape,
    };
    let (prompt_tokens, completion_tokens) = match (&hit, dispatch.shape.generates()) {
        (Some(_), _) => (0, 0),
        (None, true) => (ask.prompt_tokens, answer.tokens()),
        (None, false) => (ask.prompt_tokens, 0),
    };
    let usage = Usage::new(&entry, routed.provider, prompt_tokens, completion_tokens);
    let metadata = dispatch
        .wants_metadata
        .then(|| router_metadata(&ask, &entry, routed.provider));
    call.dispatched(Bill {
        admission: let_in.admission,
        account: let_in.account,
        entry: Arc::clone(&entry),
        provider: routed.provider,
        preamble: preamble.clone(),
        created: let_in.now,
        prompt_tokens,
        completion_tokens,
        finish_reason: answer.finish_reason,
        stream: ask.stream,
        // What the cache answers costs nothing, wherever it ends.
        cancels: hit.is_none() && entry.model.providers[routed.provider].cancels,
        produced: 0,
        fault: fault.as_ref().map(Fault::name),
    });
    if !to_head.is_zero() {
        tokio::time::sleep(to_head).await;
    }
    if let Some(how) = spoil.before_head {
        return break_off(call, how, dispatch.link).await;
    }
    if let Some(fault) = fault.as_ref().filter(|fault| !fault.is_in_200()) {
        call.fault(fault.status(), fault.name());
        return Ok(fault_response(
            shared,
            fault,
            Some(&dispatch.user_id),
            call.speaks_messages(),
        ));
    }
    let id = Arc::clone(&preamble.id);
    let whole_and_well = fault.is_none() && spoil.after_chunks.is_none();
    if let (Some(wish), None, true) = (dispatch.cache, &hit, whole_and_well) {
        let key = cache_key(dispatch.key, dispatch.shape, ask.stream, dispatch.body_hash);
        shared.world().keep(key, &id, wish.ttl);
    }
    let mut response = if ask.stream {
        let stream = AnswerStream {
            preamble,
            answer,
            usage,
            fault,
            metadata,
            comments: spoil.comments.unwrap_or(shared.comments),
            crlf: spoil.crlf,
            usage_beside_finish: spoil.usage_beside_finish,
            latency,
            rng: let_in.rng,
            at: Phase::Comments(0),
            sequence: 0,
        };
        let body = MockBody::stream(stream, call).spoiled(&spoil, dispatch.link);
        let mut response = response(shared, 200, "text/event-stream", body);
        let no_cache = HeaderValue::from_static("no-cache");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, no_cache);
        response
    } else {
        let more = u32::try_from(completion_tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        let rest = latency.first_token / 2 + latency.per_token.saturating_mul(more);
        let rest = latency.draw(rest, &mut let_in.rng);
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        let json = match dispatch.shape {
            Shape::Embeddings => {
                let vectors: Vec<_> = ask.inputs.iter().map(|input| vector(*input)).collect();
                wire::embeddings(&preamble, &vectors, &usage)
            }
            Shape::Rerank => {
                let ranked = ranked(&ask);
                wire::rerank(&preamble, &ranked, &ask.documents, &usage)
            }
            _ => whole(
                &preamble,
                answer,
                &usage,
                fault.as_ref(),
                metadata.as_ref(),
                &dispatch.user_id,
            ),
        };
        let body = MockBody::whole(Bytes::from(json), 200, call).spoiled(&spoil, dispatch.link);
        json_response(shared, body)
    };
    if let Some(wish) = dispatch.cache {
        wish.tell(hit.as_ref(), response.headers_mut());
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-generation-id"), id);
    }
    Ok(response)
}

/// A model that a call names, and how its name wants it served.
type Named = (Arc<Entry>, Variant);

/// What was asked, and the models it names, all of which exist.
fn readable(dispatch: &Dispatch<'_>, ask: Result<Ask, Fault>) -> Result<(Ask, Vec<Named>), Fault> {
    dispatch.shared.world().may_infer(dispatch.key)?;
    let ask = ask?;
    dispatch.shared.screen.guard(dispatch.body)?;
    let catalog = &dispatch.shared.catalog;
    let task = dispatch.shape.task();
    let mut entries = Vec::with_capacity(ask.models.len().max(1));
    for name in &ask.models {
        entries.push((catalog.find(Some(name), task)?, Variant::of(name)));
    }
    if entries.is_empty() {
        entries.push((catalog.find(None, task)?, Variant::default()));
    }
    let requested = ask
        .prompt_tokens
        .saturating_add(ask.max_tokens.unwrap_or(0));
    // A later model may be longer; without one, the first decides.
    let longest = entries
        .iter()
        .map(|(entry, _)| entry.model.context_length)
        .max()
        .unwrap_or(0);
    if requested > longest {
        return Err(Fault::context_length_exceeded(longest, requested));
    }
    entries.retain(|(entry, _)| requested <= entry.model.context_length);
    Ok((ask, entries))
}

/// What the response cache knows of a call, where the call wants to know.
fn cached(dispatch: &Dispatch<'_>, ask: &Ask) -> Option<Hit> {
    let wish = dispatch.cache.filter(|wish| !wish.clear)?;
    if dispatch.forced.is_some() {
        return None;
    }
    let key = cache_key(dispatch.key, dispatch.shape, ask.stream, dispatch.body_hash);
    let hit = dispatch.shared.world().cached(&key)?;
    (hit.age < wish.ttl).then_some(hit)
}

fn cache_key(key: usize, shape: Shape, stream: bool, body: u64) -> CacheKey {
    CacheKey {
        key,
        shape,
        stream,
        body,
    }
}

fn let_in(
    dispatch: &Dispatch<'_>,
    ask: &Ask,
    entry: &Entry,
    is_cached: bool,
) -> Result<LetIn, Fault> {
    let max_tokens = if dispatch.shape.generates() {
        ask.max_tokens
    } else {
        Some(0)
    };
    let mut world = dispatch.shared.world();
    let admission = if is_cached {
        world.admit_cached(dispatch.key, entry)
    } else {
        world.admit(dispatch.key, entry, ask.prompt_tokens, max_tokens)?
    };
    let occurrence = world.occurrence(dispatch.body_hash);
    Ok(LetIn {
        account: world.account_of(dispatch.key),
        rng: Rng::new(&[dispatch.shared.seed, dispatch.body_hash, occurrence]),
        latency: world.latency,
        rates: Arc::clone(&world.rates),
        now: world.clock.now(),
        admission,
    })
}

enum Failed {
    /// The mock's rules leave nobody who could serve it.
    Rules(Fault),
    /// All that may serve it have failed, by chance.
    Providers(Fault),
}

/// Tries the models and their providers in order, as OpenRouter does.
fn routed(
    dispatch: &Dispatch<'_>,
    ask: &Ask,
    entries: &[Named],
    let_in: &mut LetIn,
) -> Result<Routed, Failed> {
    let everywhere = match dispatch.forced {
        Some(_) => None,
        None => let_in.rates.draw(&mut let_in.rng),
    };
    let mut world = dispatch.shared.world();
    let mut failed: Option<(Fault, Arc<str>)> = None;
    let mut refused = None;
    for (entry, variant) in entries {
        let open = world.is_open_to(let_in.account, entry);
        let room = open.and_then(|zdr| {
            let providers = route(entry, &ask.providers, *variant, zdr)?;
            if let (true, Some(first)) = (entry.model.moderated, providers.first()) {
                let provider = &entry.providers[*first];
                let screen = &dispatch.shared.screen;
                screen.moderate(dispatch.body, provider, &entry.id)?;
            }
            world.model_has_room(entry, ask.prompt_tokens)?;
            Ok(providers)
        });
        let providers = match room {
            Ok(providers) => providers,
            Err(fault) => {
                refused.get_or_insert(fault);
                continue;
            }
        };
        let mut full = Vec::new();
        let candidates = providers.len();
        for provider in providers {
            let name = &entry.providers[provider];
            if let Err(fault) = world.provider_has_room(entry, name, ask.prompt_tokens) {
                full.push(Arc::clone(name));
                if full.len() == candidates {
                    let alone = candidates == 1;
                    let by = fault.limit().unwrap_or_default().to_owned();
                    let all = || world.all_full(entry, &full).by(by);
                    refused = Some(if alone { fault } else { all() });
                }
                continue;
            }
            let kind = everywhere.or_else(|| let_in.rates.draw_at(name, &mut let_in.rng));
            let effect = kind.map(|kind| (kind, kind.effect(name)));
            let effect = match effect {
                Some((kind, Effect::Fault(fault))) if kind.is_rerouted() => {
                    let mut fault = *fault;
                    if let Some((earlier, earlier_name)) = &failed {
                        fault.preceded_by(earlier, earlier_name);
                    }
                    failed = Some((fault, Arc::clone(name)));
                    // A fault that is everywhere is reported by the first provider alone.
                    if everywhere.is_some() {
                        break;
                    }
                    continue;
                }
                Some((_, Effect::Fault(fault))) => {
                    let fault = fault.requested_model(&entry.id);
                    Some(Effect::Fault(Box::new(fault)))
                }
                effect => effect.map(|(_, effect)| effect),
            };
            world.take_place(&mut let_in.admission, entry, name, ask.prompt_tokens);
            return Ok(Routed {
                entry: Arc::clone(entry),
                provider,
                effect,
            });
        }
        if everywhere.is_some() && failed.is_some() {
            break;
        }
    }
    match (failed, refused) {
        (Some((fault, _)), _) => Err(Failed::Providers(fault)),
        (None, Some(fault)) => Err(Failed::Rules(fault)),
        (None, None) => Err(Failed::Rules(Fault::no_endpoints(&entries[0].0.id))),
    }
}

fn generation_id(now: Timestamp, rng: &mut Rng) -> Arc<str> {
    format!("gen-{}-{}", now.unix_seconds(), rng.alphanumeric(20)).into()
}
