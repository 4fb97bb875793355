//! A plan in words.

use std::fmt;

use super::{Ordering, Plan};

impl fmt::Display for Ordering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Balanced => "balanced by price",
            Self::Order => "in the order of provider.order",
            Self::Price => "the cheapest first",
            Self::Throughput => "the fastest first",
            Self::Latency => "the soonest first",
            Self::Hidden => "the best tool callers first",
        })
    }
}

impl fmt::Display for Plan {
    /// Several lines, without color.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.candidates.len() + self.removed.len();
        let about = if self.is_estimate { "about " } else { "" };
        write!(f, "{} of {all} endpoints may serve", self.candidates.len())?;
        if !self.candidates.is_empty() {
            write!(f, ", {}", self.ordering)?;
        }
        write!(f, "; {about}{} prompt tokens", self.prompt_tokens)?;
        match self.completion_tokens {
            Some(tokens) => writeln!(f, ", {tokens} completion tokens")?,
            None => writeln!(f, ", the completion not counted")?,
        }
        let width = |tags: &mut dyn Iterator<Item = usize>| tags.max().unwrap_or(0);
        let wide = width(
            &mut self
                .candidates
                .iter()
                .map(|own| own.model.len() + own.tag.len() + 1)
                .chain(
                    self.removed
                        .iter()
                        .map(|own| own.model.len() + own.tag.len() + 1),
                ),
        );
        for (place, own) in self.candidates.iter().enumerate() {
            let name = format!("{} {}", own.model, own.tag);
            write!(f, "{:>3}. {name:<wide$}", place + 1)?;
            match own.odds {
                Some(odds) => write!(f, "  {:>5.1} %", odds * 100.0)?,
                None => write!(f, "  {:>7}", "")?,
            }
            match own.price_usd {
                Some(usd) => write!(f, "  {}", Usd(usd))?,
                None => f.write_str("  price unknown")?,
            }
            for why in &own.set_back {
                write!(f, "; {why}")?;
            }
            writeln!(f)?;
        }
        if let (Some(expected), Some(most)) = (self.expected_usd, self.most_usd) {
            writeln!(
                f,
                "price: {} expected, at most {}",
                Usd(expected),
                Usd(most)
            )?;
        }
        if !self.removed.is_empty() {
            writeln!(f, "removed:")?;
        }
        for own in &self.removed {
            let name = format!("{} {}", own.model, own.tag);
            for (place, why) in own.reasons.iter().enumerate() {
                let name = if place == 0 { &name } else { "" };
                writeln!(f, "  {name:<wide$}  {}: {}", why.field, why.why)?;
            }
        }
        if !self.cures.is_empty() {
            writeln!(f, "to have an endpoint left:")?;
        }
        for cure in &self.cures {
            let (model, tag) = &cure.admits;
            write!(f, "  {} (admits {model} {tag}", cure.changes.join("; and "))?;
            match cure.others {
                0 => writeln!(f, ")")?,
                others => writeln!(f, "; {others} more removed by the same)")?,
            }
        }
        if !self.unknown.is_empty() {
            writeln!(f, "not known:")?;
        }
        for text in &self.unknown {
            writeln!(f, "  {text}")?;
        }
        Ok(())
    }
}

/// US dollars with the digits that matter.
struct Usd(f64);

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0.0 {
            f.write_str("$0")
        } else if self.0 < 0.01 {
            write!(f, "${:.6}", self.0)
        } else {
            write!(f, "${:.4}", self.0)
        }
    }
}
