//! One measure for costs of which not everything is known: [`Yardstick`].

use fairkey_core::Cost;

/// Parts of a micro-dollar in which tenants are charged.
const UNITS: u64 = 1_000;

/// What a request of unknown size counts as before anything is known: a thousand tokens.
const REQUEST: u64 = 1_000 * UNITS;

/// The totals are halved beyond this, so that they follow, and nothing overflows.
const MOST: u64 = 1 << 32;

/// Measures costs in thousandths of a micro-dollar.
///
/// Money counts where it is known. Tokens of unknown price count at the average price of those whose
/// price is known, before there are any as one micro-dollar each; requests of unknown size as the
/// average request. So tenants whose costs are told in different units are compared, and where
/// nobody's costs are known, a request is a request.
#[derive(Debug, Default)]
pub(super) struct Yardstick {
    micro_usd: u64,
    tokens: u64,
    units: u64,
    requests: u64,
    bias: Bias,
}

/// What calls cost over what was estimated, of the last few hundred.
///
/// Estimates are mostly too high, by many times where they bound what may be billed. Charged as
/// they are, the calls under way would weigh more than all that was used before: whoever comes
/// then would be lifted to what is given back later.
#[derive(Debug, Default)]
struct Bias {
    estimated: u128,
    actual: u128,
    calls: u32,
}

impl Yardstick {
    pub(super) fn measure(&self, cost: Cost) -> u64 {
        let units = if cost.micro_usd > 0 {
            cost.micro_usd.saturating_mul(UNITS)
        } else if cost.tokens > 0 {
            let tokens = cost.tokens.saturating_mul(UNITS);
            match self.tokens {
                0 => tokens,
                all => scale(tokens, self.micro_usd, all),
            }
        } else {
            let requests = u64::from(cost.requests.max(1));
            match self.requests {
                0 => requests.saturating_mul(REQUEST),
                all => scale(requests, self.units, all),
            }
        };
        // Nothing is for nothing: whoever waits is served some time.
        units.max(1)
    }

    /// What an estimate is to be charged with: as much as those before were wrong.
    pub(super) fn charge(&self, estimated: u64) -> u64 {
        let Bias {
            estimated: all,
            actual,
            ..
        } = self.bias;
        match u128::from(estimated)
            .saturating_mul(actual)
            .checked_div(all)
        {
            Some(units) => u64::try_from(units).unwrap_or(u64::MAX).max(1),
            None => estimated,
        }
    }

    /// Hears what a call cost, and what was estimated.
    pub(super) fn compare(&mut self, estimated: u64, actual: u64) {
        let bias = &mut self.bias;
        bias.estimated += u128::from(estimated);
        bias.actual += u128::from(actual);
        bias.calls += 1;
        if bias.calls >= 256 {
            *bias = Bias {
                estimated: bias.estimated / 2,
                actual: bias.actual / 2,
                calls: bias.calls / 2,
            };
        }
    }

    /// Hears of a cost.
    pub(super) fn note(&mut self, cost: Cost) {
        if cost.micro_usd > 0 && cost.tokens > 0 {
            (self.micro_usd, self.tokens) =
                add((self.micro_usd, self.tokens), cost.micro_usd, cost.tokens);
        }
        if cost.micro_usd > 0 || cost.tokens > 0 {
            let (units, requests) = (self.measure(cost), u64::from(cost.requests.max(1)));
            (self.units, self.requests) = add((self.units, self.requests), units, requests);
        }
    }
}

fn add((a, b): (u64, u64), more_a: u64, more_b: u64) -> (u64, u64) {
    let (a, b) = (a.saturating_add(more_a), b.saturating_add(more_b));
    if b > MOST || a > 1 << 60 {
        (a / 2, (b / 2).max(1))
    } else {
        (a, b)
    }
}

fn scale(amount: u64, by: u64, of: u64) -> u64 {
    let scaled = u128::from(amount) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(tokens: u64, micro_usd: u64) -> Cost {
        Cost {
            requests: 1,
            tokens,
            micro_usd,
        }
    }

    #[test]
    fn what_is_not_known_counts_as_it_is_on_average() {
        let mut yardstick = Yardstick::default();
        assert_eq!(yardstick.measure(cost(7, 0)), 7 * UNITS);
        assert_eq!(yardstick.measure(Cost::ONE), REQUEST);
        // Two micro-dollars a token, and 500 tokens a request.
        for _ in 0..10 {
            yardstick.note(cost(500, 1_000));
        }
        assert_eq!(yardstick.measure(cost(7, 0)), 14 * UNITS);
        assert_eq!(yardstick.measure(Cost::ONE), 1_000 * UNITS);
        assert_eq!(yardstick.measure(cost(1, 90)), 90 * UNITS);
    }

    #[test]
    fn no_cost_overflows_it() {
        let mut yardstick = Yardstick::default();
        for _ in 0..100 {
            yardstick.note(cost(u64::MAX, u64::MAX));
            yardstick.note(cost(1, u64::MAX));
            yardstick.note(cost(u64::MAX, 0));
            assert!(yardstick.measure(cost(u64::MAX, 0)) > 0);
            assert!(yardstick.measure(Cost::ONE) > 0);
        }
    }
}
