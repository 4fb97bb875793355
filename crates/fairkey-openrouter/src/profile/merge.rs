//! What becomes of provider preferences where both a profile and a request have some.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::ProfileError;
use crate::request::{DataCollection, MaxPrice, Price, ProviderPreferences};
use crate::slug;
use crate::splice::Splice;

/// Returns the `provider` to send; `None`: what the request has is right. Members that stay the
/// same keep their bytes.
pub(super) fn provider(
    profile: &ProviderPreferences,
    own: Option<&[u8]>,
    name: &str,
) -> Result<Option<Box<RawValue>>, ProfileError> {
    if *profile == ProviderPreferences::default() {
        return Ok(None);
    }
    let raw = |json: &[u8]| {
        let text = std::str::from_utf8(json).ok()?.to_owned();
        RawValue::from_string(text).ok()
    };
    let own = own.filter(|json| *json != b"null");
    let Some(own) = own else {
        let json = serde_json::to_vec(profile).map_err(|_| ProfileError::Provider)?;
        return raw(&json).map(Some).ok_or(ProfileError::Provider);
    };
    if own.first() != Some(&b'{') {
        return Err(ProfileError::Provider);
    }
    let said: ProviderPreferences =
        serde_json::from_slice(own).map_err(|_| ProfileError::Provider)?;
    let before = object(&said)?;
    let after = object(&merged(profile, said, name)?)?;
    let mut edit = Splice::new(Bytes::copy_from_slice(own));
    for (field, value) in &after {
        if before.get(field) != Some(value) {
            edit = edit.set(field.as_str(), value);
        }
    }
    let json = edit.finish().map_err(|_| ProfileError::Provider)?;
    raw(&json).map(Some).ok_or(ProfileError::Provider)
}

fn object(preferences: &ProviderPreferences) -> Result<Map<String, Value>, ProfileError> {
    match serde_json::to_value(preferences) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ProfileError::Provider),
    }
}

fn merged(
    profile: &ProviderPreferences,
    said: ProviderPreferences,
    name: &str,
) -> Result<ProviderPreferences, ProfileError> {
    let nothing = |field| ProfileError::Nothing {
        name: name.to_owned(),
        field,
    };
    let profile = profile.clone();
    let mut extra = profile.extra;
    extra.extend(said.extra);
    let deny = [&profile.data_collection, &said.data_collection]
        .into_iter()
        .flatten()
        .any(|own| *own == DataCollection::Deny);
    Ok(ProviderPreferences {
        order: said.order.or(profile.order),
        only: both(profile.only, said.only, narrower).ok_or_else(|| nothing("only"))?,
        ignore: either(profile.ignore, said.ignore),
        allow_fallbacks: stricter(profile.allow_fallbacks, said.allow_fallbacks, false),
        require_parameters: stricter(profile.require_parameters, said.require_parameters, true),
        data_collection: if deny {
            Some(DataCollection::Deny)
        } else {
            said.data_collection.or(profile.data_collection)
        },
        zdr: stricter(profile.zdr, said.zdr, true),
        enforce_distillable_text: stricter(
            profile.enforce_distillable_text,
            said.enforce_distillable_text,
            true,
        ),
        quantizations: both(profile.quantizations, said.quantizations, |a, b| {
            (a == b).then(|| a.clone())
        })
        .ok_or_else(|| nothing("quantizations"))?,
        sort: said.sort.or(profile.sort),
        preferred_min_throughput: said
            .preferred_min_throughput
            .or(profile.preferred_min_throughput),
        preferred_max_latency: said.preferred_max_latency.or(profile.preferred_max_latency),
        max_price: match (profile.max_price, said.max_price) {
            (Some(ours), Some(theirs)) => Some(lower(ours, theirs)),
            (ours, theirs) => theirs.or(ours),
        },
        options: match (profile.options, said.options) {
            (Some(mut ours), Some(theirs)) => {
                ours.extend(theirs);
                Some(ours)
            }
            (ours, theirs) => theirs.or(ours),
        },
        extra,
    })
}

/// What both allow; `None` where that is nothing, though either allows something.
#[expect(clippy::option_option, reason = "a list that is not there allows all")]
fn both<T>(
    ours: Option<Vec<T>>,
    theirs: Option<Vec<T>>,
    common: impl Fn(&T, &T) -> Option<T>,
) -> Option<Option<Vec<T>>>
where
    T: PartialEq,
{
    // Whether OpenRouter takes an empty list for none is not documented: it shall relax nothing.
    let theirs = theirs.filter(|list| ours.is_none() || !list.is_empty());
    let (ours, theirs) = match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours, theirs),
        (ours, theirs) => return Some(theirs.or(ours)),
    };
    let mut all: Vec<T> = Vec::new();
    for their in &theirs {
        for own in ours.iter().filter_map(|our| common(our, their)) {
            if !all.contains(&own) {
                all.push(own);
            }
        }
    }
    (!all.is_empty()).then_some(Some(all))
}

/// Of two slugs that mean common endpoints, the one that means fewer.
#[expect(clippy::ptr_arg, reason = "lists are of strings")]
fn narrower(a: &String, b: &String) -> Option<String> {
    // A base slug never means endpoints of a service tier.
    let covers = |base: &str, entry: &str| {
        base == entry || (entry.split('/').next() == Some(base) && slug::tier(entry).is_none())
    };
    if covers(a, b) {
        Some(b.clone())
    } else {
        covers(b, a).then(|| a.clone())
    }
}

fn either(ours: Option<Vec<String>>, theirs: Option<Vec<String>>) -> Option<Vec<String>> {
    let (Some(ours), Some(mut all)) = (ours.clone(), theirs.clone()) else {
        return theirs.or(ours);
    };
    for own in ours {
        if !all.contains(&own) {
            all.push(own);
        }
    }
    Some(all)
}

fn stricter(ours: Option<bool>, theirs: Option<bool>, strict: bool) -> Option<bool> {
    if ours == Some(strict) {
        return ours;
    }
    theirs.or(ours)
}

fn lower(ours: MaxPrice, theirs: MaxPrice) -> MaxPrice {
    let lower = |ours: Option<Price>, theirs: Option<Price>| match (ours, theirs) {
        // One that cannot be read bounds nothing.
        (Some(our), Some(their)) => match (our.usd(), their.usd()) {
            (Some(least), Some(usd)) if usd < least => Some(their),
            (None, _) => Some(their),
            _ => Some(our),
        },
        (ours, theirs) => theirs.or(ours),
    };
    let mut extra = ours.extra;
    extra.extend(theirs.extra);
    MaxPrice {
        prompt: lower(ours.prompt, theirs.prompt),
        completion: lower(ours.completion, theirs.completion),
        request: lower(ours.request, theirs.request),
        image: lower(ours.image, theirs.image),
        audio: lower(ours.audio, theirs.audio),
        extra,
    }
}
