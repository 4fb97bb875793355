//! Who the app is: the headers that attribute calls to it.

use std::error::Error;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The app's address; without it a call is attributed to nobody.
pub const HTTP_REFERER: HeaderName = HeaderName::from_static("http-referer");
/// The app's name. OpenRouter still reads the older `X-Title`.
pub const X_OPENROUTER_TITLE: HeaderName = HeaderName::from_static("x-openrouter-title");
/// The app's categories, separated by commas.
pub const X_OPENROUTER_CATEGORIES: HeaderName = HeaderName::from_static("x-openrouter-categories");

/// The most categories of one request.
pub const MAX_CATEGORIES: usize = 2;
/// The most characters of one category.
pub const MAX_CATEGORY_CHARS: usize = 30;

/// Who the app is, as OpenRouter shows it in rankings and activity.
///
/// ```
/// use fairkey_openrouter::AppAttribution;
///
/// let app = AppAttribution::new("https://my-app.example")
///     .title("My app")
///     .category("cli-agent");
/// let headers = app.headers()?;
/// assert_eq!(headers["http-referer"], "https://my-app.example");
/// # Ok::<(), fairkey_openrouter::AttributionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppAttribution {
    /// The app's address. Required: without it OpenRouter attributes nothing.
    pub url: String,
    /// The app's name.
    pub title: Option<String>,
    /// At most [`MAX_CATEGORIES`], each of at most [`MAX_CATEGORY_CHARS`] characters.
    pub categories: Vec<String>,
}

impl AppAttribution {
    /// Returns the attribution to the app at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// Sets the app's name.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Adds a category.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.categories.push(category.into());
        self
    }

    /// Returns the headers to send.
    ///
    /// # Errors
    ///
    /// Where a field breaks a rule of OpenRouter or of HTTP; the error names it.
    pub fn headers(&self) -> Result<HeaderMap, AttributionError> {
        let mut headers = HeaderMap::with_capacity(3);
        if self.url.is_empty() {
            return Err(AttributionError {
                field: "url",
                rule: Rule::Empty,
            });
        }
        headers.insert(HTTP_REFERER, value("url", &self.url)?);
        if let Some(title) = &self.title {
            headers.insert(X_OPENROUTER_TITLE, value("title", title)?);
        }
        if !self.categories.is_empty() {
            if self.categories.len() > MAX_CATEGORIES {
                return Err(AttributionError {
                    field: "categories",
                    rule: Rule::TooMany,
                });
            }
            for category in &self.categories {
                let rule = match category.chars().count() {
                    0 => Rule::Empty,
                    n if n > MAX_CATEGORY_CHARS => Rule::TooLong,
                    _ if category.contains(',') => Rule::Comma,
                    _ => continue,
                };
                return Err(AttributionError {
                    field: "categories",
                    rule,
                });
            }
            let list = self.categories.join(",");
            headers.insert(X_OPENROUTER_CATEGORIES, value("categories", &list)?);
        }
        Ok(headers)
    }
}

fn value(field: &'static str, text: &str) -> Result<HeaderValue, AttributionError> {
    // `HeaderValue` itself would let UTF-8 pass.
    let value = HeaderValue::from_str(text)
        .ok()
        .filter(|value| value.to_str().is_ok());
    value.ok_or(AttributionError {
        field,
        rule: Rule::NotAscii,
    })
}

/// An [`AppAttribution`] that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributionError {
    field: &'static str,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Empty,
    TooMany,
    TooLong,
    Comma,
    NotAscii,
}

impl fmt::Display for AttributionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app attribution, {}: ", self.field)?;
        match self.rule {
            Rule::Empty => f.write_str("must not be empty"),
            Rule::TooMany => write!(f, "OpenRouter takes at most {MAX_CATEGORIES}"),
            Rule::TooLong => write!(f, "at most {MAX_CATEGORY_CHARS} characters each"),
            Rule::Comma => f.write_str("one category per entry, without commas"),
            Rule::NotAscii => f.write_str("only printable ASCII fits a header"),
        }
    }
}

impl Error for AttributionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_headers_are_made() {
        let app = AppAttribution::new("https://x.example")
            .title("X")
            .category("a")
            .category("b");
        let headers = app.headers().unwrap();
        assert_eq!(headers[HTTP_REFERER], "https://x.example");
        assert_eq!(headers[X_OPENROUTER_TITLE], "X");
        assert_eq!(headers[X_OPENROUTER_CATEGORIES], "a,b");
    }

    #[test]
    fn each_rule_is_checked() {
        let ok = AppAttribution::new("https://x.example");
        let thirty = "c".repeat(30);
        assert!(ok.clone().category(&thirty).headers().is_ok());
        for (app, word) in [
            (AppAttribution::new(""), "empty"),
            (
                ok.clone().category("a").category("b").category("c"),
                "at most 2",
            ),
            (ok.clone().category(format!("{thirty}x")), "30 characters"),
            (ok.clone().category("a,b"), "commas"),
            (ok.clone().title("a\nb"), "ASCII"),
            (ok.clone().title("é"), "ASCII"),
        ] {
            let error = app.headers().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
