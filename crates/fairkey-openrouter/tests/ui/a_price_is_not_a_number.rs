//! A bound says of which price it is, per million tokens or per unit.

use fairkey_openrouter::ProviderPreferences;

fn main() {
    let _ = ProviderPreferences::new().max_price(3.0);
}
