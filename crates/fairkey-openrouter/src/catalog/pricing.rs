//! Prices.

use crate::lenient::lenient_object;
use crate::request::Price;

lenient_object! {
    /// What a model or an endpoint costs, in US dollars per token, request or unit. OpenRouter
    /// writes texts.
    pub struct Pricing {
        /// Per prompt token.
        prompt: some Price;
        /// Per completion token.
        completion: some Price;
        /// Per request.
        request: some Price;
        /// Per image that goes in.
        image: some Price;
        /// Per image that comes out.
        image_output: some Price;
        /// Per token of an image.
        image_token: some Price;
        /// Per token of audio that goes in.
        audio: some Price;
        /// Per token of audio that comes out.
        audio_output: some Price;
        /// Per token of audio that is read from the provider's cache.
        input_audio_cache: some Price;
        /// Per token that is read from the provider's cache.
        input_cache_read: some Price;
        /// Per token that is written to it, for 5 minutes where there is a choice.
        input_cache_write: some Price;
        /// Per token that is written to it for an hour.
        input_cache_write_1h: some Price;
        /// Per token of reasoning.
        internal_reasoning: some Price;
        /// Per search of the web.
        web_search: some Price;
        /// The share of the price that is taken off: 0 nothing, 1 all. Whether the prices beside it
        /// are those before or after is not documented; nothing here takes it off.
        discount: number f64;
        /// Prices under conditions. Of those that hold, the later win, price by price.
        overrides: items PricingOverride;
    }
}

lenient_object! {
    /// Prices that hold under all of the conditions that are given.
    pub struct PricingOverride {
        /// Holds for prompts of more tokens than this.
        min_prompt_tokens: number f64;
        /// Holds from this time of day on, in UTC, written as the number HHMM.
        utc_start: number f64;
        /// Holds before this time of day. A window may go past midnight.
        utc_end: number f64;
        /// Per prompt token.
        prompt: some Price;
        /// Per completion token.
        completion: some Price;
    }
}

/// What decides which prices of a [`Pricing`] hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The tokens of the prompt.
    pub prompt_tokens: u64,
    /// The time of day in UTC, as the number HHMM (1430 is half past two); `None`: unknown, and no
    /// window holds.
    pub utc: Option<u16>,
}

impl PricingOverride {
    fn holds(&self, at: Conditions) -> bool {
        let long_enough = self
            .min_prompt_tokens
            .is_none_or(|least| at.prompt_tokens as f64 > least);
        let in_window = match (self.utc_start, self.utc_end) {
            (None, None) => true,
            (start, end) => at.utc.is_some_and(|now| {
                let (now, start) = (f64::from(now), start.unwrap_or(0.0));
                let end = end.unwrap_or(2400.0);
                if start <= end {
                    (start..end).contains(&now)
                } else {
                    now >= start || now < end
                }
            }),
        };
        long_enough && in_window
    }
}

impl Pricing {
    /// Returns the prices of a prompt token and of a completion token under these conditions, in
    /// US dollars; `None` where one is unknown or negative (routers are priced at −1).
    #[must_use]
    pub fn token_prices(&self, at: Conditions) -> Option<(f64, f64)> {
        let (mut prompt, mut completion) = (&self.prompt, &self.completion);
        for own in self.overrides.iter().filter(|own| own.holds(at)) {
            if own.prompt.is_some() {
                prompt = &own.prompt;
            }
            if own.completion.is_some() {
                completion = &own.completion;
            }
        }
        Some((amount(prompt)?, amount(completion)?))
    }

    /// Returns what a call of so many tokens costs, in US dollars, overrides for long prompts
    /// included; `None` where a token price is unknown or negative (routers are priced at −1).
    #[must_use]
    pub fn cost_usd(&self, prompt_tokens: u64, completion_tokens: u64) -> Option<f64> {
        let at = Conditions {
            prompt_tokens,
            utc: None,
        };
        self.cost_at(at, completion_tokens)
    }

    /// Returns what a call costs under these conditions, in US dollars.
    #[must_use]
    pub fn cost_at(&self, at: Conditions, completion_tokens: u64) -> Option<f64> {
        let (prompt, completion) = self.token_prices(at)?;
        let request = amount(&self.request).unwrap_or(0.0);
        Some(prompt * at.prompt_tokens as f64 + completion * completion_tokens as f64 + request)
    }

    /// Returns whether both token prices are zero.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.token_prices(Conditions::default()) == Some((0.0, 0.0))
    }
}

/// An amount that is known and not negative.
pub(crate) fn amount(price: &Option<Price>) -> Option<f64> {
    price.as_ref()?.usd().filter(|usd| *usd >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_hold_under_all_their_conditions_and_the_last_wins() {
        let pricing: Pricing = serde_json::from_str(
            r#"{"prompt":"1","completion":"2","overrides":[
                {"min_prompt_tokens":100,"prompt":"3"},
                {"min_prompt_tokens":200,"prompt":"4","completion":"5"},
                {"utc_start":2200,"utc_end":200,"completion":"0.5"},
                {"utc_start":900,"utc_end":1000,"min_prompt_tokens":100,"prompt":"0"}]}"#,
        )
        .unwrap();
        for (prompt_tokens, utc, expected) in [
            (100, None, (1.0, 2.0)),
            (101, None, (3.0, 2.0)),
            (201, None, (4.0, 5.0)),
            (1, Some(2159), (1.0, 2.0)),
            (1, Some(2200), (1.0, 0.5)),
            (1, Some(0), (1.0, 0.5)),
            (1, Some(200), (1.0, 2.0)),
            (101, Some(900), (0.0, 2.0)),
            (101, Some(1000), (3.0, 2.0)),
            (201, Some(2300), (4.0, 0.5)),
        ] {
            let at = Conditions { prompt_tokens, utc };
            assert_eq!(pricing.token_prices(at), Some(expected), "{at:?}");
        }
        assert_eq!(pricing.cost_usd(101, 10), Some(323.0));
    }

    #[test]
    fn a_price_that_is_unknown_or_negative_makes_no_cost() {
        for json in [
            r#"{}"#,
            r#"{"prompt":"-1","completion":"1"}"#,
            r#"{"prompt":"x"}"#,
        ] {
            let pricing: Pricing = serde_json::from_str(json).unwrap();
            assert_eq!(pricing.cost_usd(1, 1), None, "{json}");
            assert!(!pricing.is_free());
        }
    }
}
