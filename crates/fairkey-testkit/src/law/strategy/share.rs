//! Who gets how much.

use std::collections::HashMap;
use std::sync::Arc;

use fairkey_core::{
    Ask, Denied, Gate, Key, Lease, ManualClock, Outcome, Pool, Random, Scope, Strategy,
};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::Strategy as Generator;

use crate::SpyGate;
use crate::generate::{keys_of, plain_keys};
use crate::law::{Verdict, ensure, for_all, for_one_in};

/// While the offer stays the same, every key on it gets exactly as many calls as every other in
/// each full round, however far the rotation has come before. For strategies that rotate.
///
/// # Errors
///
/// How the law is broken.
pub fn even_share(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    let inputs = (1_u16..=64, vec(any::<u8>(), 0..8), 0_u32..100, 1_u32..4);
    for_all("even_share", &inputs, |(keys, down, before, rounds)| {
        let (pool, barred) = pool_with_keys_down(make(), *keys, down)?;
        let open = u32::from(*keys) - barred;
        calls(&pool, *before)?;
        let counts = calls(&pool, open * rounds)?;
        let even = counts.len() == open as usize && counts.values().all(|n| n == rounds);
        ensure(even, || {
            format!("{rounds} rounds over {open} keys were shared so: {counts:?}")
        })
    })
}

/// With one key out, each of the others gets the same share, and not the dead key's neighbor its
/// turns on top. `tolerance` is how far a share may be from the mean, as a part of it: 0 for
/// strategies that rotate; 0.2 is ample for chance.
///
/// # Errors
///
/// How the law is broken.
pub fn one_key_down_leaves_the_others_even(
    make: impl Fn() -> Box<dyn Strategy>,
    tolerance: f64,
) -> Verdict {
    let law = "one_key_down_leaves_the_others_even";
    for_one_in(4, law, &(3_u16..12, any::<u8>()), |(keys, down)| {
        let each = 1_000;
        let (pool, _) = pool_with_keys_down(make(), *keys, &[*down])?;
        let counts = calls(&pool, each * (u32::from(*keys) - 1))?;
        let allowed = tolerance * f64::from(each);
        let uneven =
            (counts.iter()).find(|(_, n)| (f64::from(**n) - f64::from(each)).abs() > allowed);
        ensure(
            uneven.is_none() && counts.len() == usize::from(*keys) - 1,
            || format!("with one key down, {each} calls for each other were shared so: {counts:?}"),
        )
    })
}

/// In an idle pool of equal keys all get the same share, by chance or in turn: a chi-square test
/// that a fair strategy fails once in a million.
///
/// # Errors
///
/// How the law is broken.
pub fn ties_are_broken_evenly(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    for_one_in(4, "ties_are_broken_evenly", &(2_u16..12), |keys| {
        let each = 200;
        let (pool, _) = pool_with_keys_down(make(), *keys, &[])?;
        let counts = calls(&pool, each * u32::from(*keys))?;
        let square = |n: u32| (f64::from(n) - f64::from(each)).powi(2) / f64::from(each);
        let missing = usize::from(*keys) - counts.len();
        let chi_square: f64 =
            counts.values().map(|n| square(*n)).sum::<f64>() + missing as f64 * square(0);
        let most = chi_square_once_in_a_million(f64::from(keys - 1));
        ensure(chi_square <= most, || {
            format!("chi-square is {chi_square:.1}, and by chance at most {most:.1}: {counts:?}")
        })
    })
}

/// Under load, each key's share of the calls is that of its weight among all weights, give or take
/// `tolerance` of it.
///
/// The load is eight calls in flight per unit of weight, of which one by chance ends before each
/// next begins.
///
/// # Errors
///
/// How the law is broken.
pub fn share_follows_weight(make: impl Fn() -> Box<dyn Strategy>, tolerance: f64) -> Verdict {
    let inputs = (vec(1_u32..=4, 2..5), any::<u64>());
    for_one_in(4, "share_follows_weight", &inputs, |(weights, seed)| {
        let mut specs = plain_keys(u16::try_from(weights.len()).unwrap_or(u16::MAX));
        for (spec, weight) in specs.iter_mut().zip(weights) {
            spec.weight = *weight;
        }
        let pool = pool(make(), keys_of(&specs), &[])?;
        let total: u32 = weights.iter().sum();
        let mut random = Random::new(*seed);
        let mut held: Vec<Lease> = Vec::new();
        let mut counts = vec![0_u32; weights.len()];
        for n in 0..8 * total + 400 * total {
            if held.len() >= 8 * total as usize {
                let at = random.below(8 * total) as usize;
                held.swap_remove(at).finish(Outcome::Success);
            }
            let lease = pool
                .select(&Ask::new())
                .map_err(|error| error.to_string())?;
            if n >= 8 * total {
                let id = lease.key().id().as_str();
                let at = id.trim_start_matches('k').parse::<usize>();
                counts[at.map_err(|_| format!("a key called {id:?}"))?] += 1;
            }
            held.push(lease);
        }
        let far = |(count, weight): (&u32, &u32)| {
            let right = 400.0 * f64::from(*weight);
            (f64::from(*count) - right).abs() > tolerance * right
        };
        ensure(!counts.iter().zip(weights).any(far), || {
            format!("for weights {weights:?}, 400 calls per unit were shared so: {counts:?}")
        })
    })
}

/// Asks of the same affinity get the same key while it is open; when one key is out, only its
/// sessions move; when it is back, so are they.
///
/// # Errors
///
/// How the law is broken.
pub fn sessions_keep_their_key(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    let sessions = vec(any::<u64>(), 1..40);
    let inputs = (vec(1_u32..=3, 2..8), sessions, any::<u8>()).prop_map(|(weights, mut all, n)| {
        all.sort_unstable();
        all.dedup();
        (weights, all, n)
    });
    for_all(
        "sessions_keep_their_key",
        &inputs,
        |(weights, sessions, down)| {
            let mut specs = plain_keys(u16::try_from(weights.len()).unwrap_or(u16::MAX));
            for (spec, weight) in specs.iter_mut().zip(weights) {
                spec.weight = *weight;
            }
            let gate = Arc::new(SpyGate::new());
            let pool = pool(
                make(),
                keys_of(&specs),
                &[Arc::clone(&gate) as Arc<dyn Gate>],
            )?;
            let homes = || -> Result<HashMap<u64, String>, String> {
                let home = |session: &u64| {
                    let ask = Ask::new().with_affinity(*session);
                    let lease = pool.select(&ask).map_err(|error| error.to_string())?;
                    Ok((*session, lease.key().id().to_string()))
                };
                sessions.iter().map(home).collect()
            };
            let first = homes()?;
            ensure(homes()? == first, || {
                format!("sessions moved without a reason from {first:?}")
            })?;
            let down = specs[usize::from(*down) % specs.len()].label();
            gate.bar(&down, Denied::for_good(Scope::Key));
            for (session, home) in homes()? {
                let was = &first[&session];
                ensure(home != down, || {
                    format!("session {session} is on {down}, which is out")
                })?;
                ensure(was == &down || &home == was, || {
                    format!("{down} is out, and session {session} moved from {was} to {home}")
                })?;
            }
            gate.admit_all();
            ensure(homes()? == first, || {
                format!("{down} is back, and its sessions are not: {first:?} before")
            })
        },
    )
}

/// Makes `n` calls one after the other, and returns how many each key got.
fn calls(pool: &Pool, n: u32) -> Result<HashMap<String, u32>, String> {
    let mut counts = HashMap::new();
    for _ in 0..n {
        let lease = pool
            .select(&Ask::new())
            .map_err(|error| error.to_string())?;
        *counts.entry(lease.key().id().to_string()).or_default() += 1;
        lease.finish(Outcome::Success);
    }
    Ok(counts)
}

/// Makes a pool of equal keys of which some are out, but never all. Returns how many are.
fn pool_with_keys_down(
    strategy: Box<dyn Strategy>,
    keys: u16,
    down: &[u8],
) -> Result<(Pool, u32), String> {
    let specs = plain_keys(keys);
    let gate = Arc::new(SpyGate::new());
    let mut labels: Vec<String> = (down.iter())
        .map(|n| specs[usize::from(*n) % specs.len()].label())
        .collect();
    labels.sort_unstable();
    labels.dedup();
    labels.truncate(usize::from(keys) - 1);
    for label in &labels {
        gate.bar(label, Denied::for_good(Scope::Key));
    }
    let pool = pool(strategy, keys_of(&specs), &[gate])?;
    Ok((pool, u32::try_from(labels.len()).unwrap_or(u32::MAX)))
}

fn pool(
    strategy: Box<dyn Strategy>,
    keys: Vec<Key>,
    gates: &[Arc<dyn Gate>],
) -> Result<Pool, String> {
    // The clock stands still: to a strategy that heeds latency, equal keys are equal then.
    let builder = Pool::builder()
        .strategy(strategy)
        .keys(keys)
        .clock(ManualClock::new())
        .seed(11);
    (gates.iter().cloned())
        .fold(builder, |builder, gate| builder.shared_gate(gate))
        .build()
        .map_err(|error| error.to_string())
}

/// What chi-square with so many degrees of freedom exceeds at most once in a million times (Wilson
/// and Hilferty 1931): up to a sixth above the true bound at 1 degree, 3 % at 10.
fn chi_square_once_in_a_million(degrees: f64) -> f64 {
    const Z: f64 = 4.753;
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + Z * spread.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_chi_square_is_a_little_above_that_of_the_tables() {
        for (degrees, table) in [(1.0, 23.93), (2.0, 27.63), (5.0, 35.89), (10.0, 46.86)] {
            let bound = chi_square_once_in_a_million(degrees);
            assert!(
                (table..1.17 * table).contains(&bound),
                "{degrees}: {bound} for {table}"
            );
        }
    }
}
