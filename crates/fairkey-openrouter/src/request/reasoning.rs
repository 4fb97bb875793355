//! How much a model reasons, and what is shown of it.

use crate::open_enum::open_enum;
use crate::open_object::open_object;

open_object! {
    /// Options for models that reason. [`effort`](field@Self::effort) and
    /// [`max_tokens`](field@Self::max_tokens) are two ways to say the same: give one.
    pub struct Reasoning as in "Reasoning::new()" {
        /// How much to reason. Default: the model's own.
        effort: into Effort = Effort::Minimal => "minimal";
        /// How many tokens to reason with. Default: by the effort.
        max_tokens: value u64 = 2_000 => 2000;
        /// Whether to leave the reasoning out of the answer; it is paid for all the same. Default:
        /// false.
        exclude: value bool = true => true;
        /// Whether to reason at all, with the model's own effort. Default: the model's own.
        enabled: value bool = true => true;
        /// How long the summary of the reasoning is. Default: none.
        summary: into SummaryVerbosity = SummaryVerbosity::Concise => "concise";
    }
}

impl From<Effort> for Reasoning {
    fn from(effort: Effort) -> Self {
        Self::new().effort(effort)
    }
}

open_enum! {
    /// How much a model reasons.
    pub enum Effort {
        /// As much as it can.
        Max = "max",
        /// More than high.
        Xhigh = "xhigh",
        /// Much.
        High = "high",
        /// Some.
        Medium = "medium",
        /// Little.
        Low = "low",
        /// Hardly.
        Minimal = "minimal",
        /// Not at all.
        None = "none",
    }
}

open_enum! {
    /// How long a summary of the reasoning is.
    pub enum SummaryVerbosity {
        /// As the model likes.
        Auto = "auto",
        /// Short.
        Concise = "concise",
        /// Long.
        Detailed = "detailed",
    }
}
