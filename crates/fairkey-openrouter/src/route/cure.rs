//! What to change where no endpoint is left.

use std::collections::BTreeMap;

use super::{Cure, Removed};

/// The most cures that are told.
const MOST: usize = 5;

/// Returns the smallest sets of fields whose change leaves an endpoint, each with the change for its
/// cheapest endpoint. A set that contains another is not told.
pub(super) fn cures(removed: &[Removed]) -> Vec<Cure> {
    let mut sets: BTreeMap<Vec<&str>, Vec<&Removed>> = BTreeMap::new();
    for one in removed {
        let mut fields: Vec<&str> = one.reasons.iter().map(|why| why.field.as_str()).collect();
        fields.sort_unstable();
        fields.dedup();
        sets.entry(fields).or_default().push(one);
    }
    let price = |one: &Removed| one.price_usd.unwrap_or(f64::INFINITY);
    let mut found: Vec<(Vec<&str>, &Removed, usize)> = Vec::new();
    let mut sets: Vec<_> = sets.into_iter().collect();
    sets.sort_by_key(|(fields, _)| fields.len());
    for (fields, all) in sets {
        let is_larger = found
            .iter()
            .any(|(smaller, _, _)| smaller.iter().all(|field| fields.contains(field)));
        let cheapest = all.iter().min_by(|a, b| price(a).total_cmp(&price(b)));
        if let (false, Some(cheapest)) = (is_larger, cheapest) {
            found.push((fields, cheapest, all.len() - 1));
        }
    }
    found.sort_by(|a, b| {
        let by_size = a.0.len().cmp(&b.0.len());
        by_size.then(price(a.1).total_cmp(&price(b.1)))
    });
    found
        .into_iter()
        .take(MOST)
        .map(|(_, one, others)| Cure {
            changes: one.reasons.iter().map(|why| why.cure.clone()).collect(),
            admits: (one.model.clone(), one.tag.clone()),
            others,
        })
        .collect()
}
