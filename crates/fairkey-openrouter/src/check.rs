//! Checks before sending: what OpenRouter would refuse, ignore or read in another way than meant.
//!
//! A 400 costs a round trip, a 404 of an empty provider list an afternoon, and a setting that
//! silently does nothing is found by nobody. Each [`Finding`] names the field, its value, the rule
//! and the cure. How many there are is a matter of [`Level`]:
//!
//! ```
//! use fairkey_openrouter::check::{Level, Severity};
//! use fairkey_openrouter::{ChatRequest, ProviderPreferences};
//!
//! let request = ChatRequest::default()
//!     .models(["a/1", "a/2", "a/3", "a/4"])
//!     .user("Hi")
//!     .provider(ProviderPreferences::new().order(["AWS Bedrock"]));
//!
//! let refused = request.check(Level::Strict).unwrap_err();
//! assert!(refused.to_string().contains("models"));
//!
//! let findings = request.check(Level::Warn)?;
//! let slug = findings.iter().find(|own| own.field == "provider.order[0]").unwrap();
//! assert_eq!(slug.severity, Severity::Warning);
//! assert_eq!(slug.cure, "write \"amazon-bedrock\"");
//! # Ok::<(), fairkey_openrouter::check::CheckError>(())
//! ```

mod chat;
mod numbers;
mod provider;
mod repair;

use std::error::Error;
use std::fmt;

use serde::Serialize;

use crate::catalog::ProviderList;
use crate::request::ChatRequest;

/// How strict checks are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// An error is refused. Warnings and advice are told.
    #[default]
    Strict,
    /// Everything is told, nothing refused.
    Warn,
    /// Nothing is checked.
    Off,
}

/// How bad a finding is. The worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It does what it says, and something else that may not be meant.
    Advice,
    /// It does nothing, or may do something else than meant.
    Warning,
    /// It is refused, or can never be served.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Advice => "advice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Something about a request that should be otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where, as a path: `provider.max_price.prompt`, `models[3]`.
    pub field: String,
    /// What stands there, in short. Never what a prompt says, nor who the end user is.
    pub value: String,
    /// What it breaks.
    pub rule: String,
    /// What to write in its place.
    pub cure: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            field,
            value,
            rule,
            cure,
        } = self;
        write!(f, "{severity}: {field} = {value}: {rule}; {cure}")
    }
}

/// A request that was refused before sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    findings: Vec<Finding>,
}

impl CheckError {
    /// Returns all findings, the worst first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = || {
            self.findings
                .iter()
                .filter(|own| own.severity == Severity::Error)
        };
        write!(f, "the request would be refused")?;
        for own in errors().take(5) {
            write!(
                f,
                "; {} = {}: {}, {}",
                own.field, own.value, own.rule, own.cure
            )?;
        }
        match errors().count().saturating_sub(5) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Error for CheckError {}

/// Checks with what is known beside the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checks<'a> {
    level: Level,
    providers: Option<&'a ProviderList>,
}

impl<'a> Checks<'a> {
    /// Returns checks of that level.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self {
            level,
            providers: None,
        }
    }

    /// Sets the providers, so that a slug that none of them has is found.
    #[must_use]
    pub fn providers(mut self, providers: &'a ProviderList) -> Self {
        self.providers = Some(providers);
        self
    }

    /// Checks a request and returns what was found, the worst first.
    ///
    /// # Errors
    ///
    /// With [`Level::Strict`], where an error was found.
    pub fn run(&self, request: &ChatRequest) -> Result<Vec<Finding>, CheckError> {
        if self.level == Level::Off {
            return Ok(Vec::new());
        }
        let mut findings = Findings::default();
        chat::check(request, &mut findings);
        numbers::check(request, &mut findings);
        provider::check(request, self.providers, &mut findings);
        let mut findings = findings.0;
        findings.sort_by_key(|own| std::cmp::Reverse(own.severity));
        let has_error = findings
            .first()
            .is_some_and(|own| own.severity == Severity::Error);
        if self.level == Level::Strict && has_error {
            return Err(CheckError { findings });
        }
        Ok(findings)
    }
}

impl ChatRequest {
    /// Checks the request before sending and returns what was found, the worst first.
    ///
    /// With a list of providers more is found: see [`Checks::providers`].
    ///
    /// # Errors
    ///
    /// With [`Level::Strict`], where an error was found.
    pub fn check(&self, level: Level) -> Result<Vec<Finding>, CheckError> {
        Checks::new(level).run(self)
    }
}

/// Where findings are gathered.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        severity: Severity,
        field: impl Into<String>,
        value: impl fmt::Display,
        rule: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.0.push(Finding {
            severity,
            field: field.into(),
            value: short(&value.to_string()),
            rule: rule.into(),
            cure: cure.into(),
        });
    }

    fn error(
        &mut self,
        field: impl Into<String>,
        value: impl fmt::Display,
        rule: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.add(Severity::Error, field, value, rule, cure);
    }

    fn warning(
        &mut self,
        field: impl Into<String>,
        value: impl fmt::Display,
        rule: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.add(Severity::Warning, field, value, rule, cure);
    }

    fn advice(
        &mut self,
        field: impl Into<String>,
        value: impl fmt::Display,
        rule: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.add(Severity::Advice, field, value, rule, cure);
    }
}

/// A value on one line, of at most 60 characters.
pub(crate) fn short(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(60).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
