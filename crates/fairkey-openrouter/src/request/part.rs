//! Parts of a message's content.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::CacheControl;
use crate::open_enum::open_enum;

/// One part of a message's content: its `type`, and the fields that go with it.
///
/// URLs are `https:` or `data:` URLs; which of them a model takes is the provider's affair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContentPart {
    /// `text`, `image_url`, `input_audio`, `file`, `video_url` or one of a later day.
    #[serde(rename = "type")]
    pub kind: String,
    /// The fields of that kind.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl ContentPart {
    /// Returns a part by its `type`, with one field.
    #[must_use]
    pub fn new(kind: impl Into<String>, field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            kind: kind.into(),
            fields: Map::from_iter([(field.into(), value.into())]),
        }
    }

    /// Returns a text.
    ///
    /// ```
    /// use fairkey_openrouter::ContentPart;
    ///
    /// assert_eq!(ContentPart::text("Hi").as_text(), Some("Hi"));
    /// ```
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text", "text", text.into())
    }

    /// Returns an image by its URL.
    ///
    /// ```
    /// use fairkey_openrouter::ContentPart;
    ///
    /// let json = serde_json::to_value(ContentPart::image_url("data:image/png;base64,iVBO"))?;
    /// assert_eq!(json["image_url"]["url"], "data:image/png;base64,iVBO");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn image_url(url: impl Into<String>) -> Self {
        Self::new("image_url", "image_url", json!({ "url": url.into() }))
    }

    /// Returns an image by its URL, and how closely to look at it.
    ///
    /// ```
    /// use fairkey_openrouter::{ContentPart, ImageDetail};
    ///
    /// let part = ContentPart::image("https://example.com/x.png", ImageDetail::Low);
    /// assert_eq!(serde_json::to_value(&part)?["image_url"]["detail"], "low");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn image(url: impl Into<String>, detail: impl Into<ImageDetail>) -> Self {
        let image = json!({ "url": url.into(), "detail": detail.into() });
        Self::new("image_url", "image_url", image)
    }

    /// Returns audio as base64, with its format (`wav`, `mp3`, …).
    ///
    /// ```
    /// use fairkey_openrouter::ContentPart;
    ///
    /// let json = serde_json::to_value(ContentPart::input_audio("UklGR…", "wav"))?;
    /// assert_eq!(json["input_audio"]["format"], "wav");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn input_audio(base64: impl Into<String>, format: impl Into<String>) -> Self {
        let audio = json!({ "data": base64.into(), "format": format.into() });
        Self::new("input_audio", "input_audio", audio)
    }

    /// Returns a file by its name and its URL.
    ///
    /// ```
    /// use fairkey_openrouter::ContentPart;
    ///
    /// let json = serde_json::to_value(ContentPart::file("a.pdf", "https://example.com/a.pdf"))?;
    /// assert_eq!(json["file"]["filename"], "a.pdf");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn file(name: impl Into<String>, url: impl Into<String>) -> Self {
        let file = json!({ "filename": name.into(), "file_data": url.into() });
        Self::new("file", "file", file)
    }

    /// Returns a file that was uploaded before, by its identifier.
    ///
    /// ```
    /// use fairkey_openrouter::ContentPart;
    ///
    /// let json = serde_json::to_value(ContentPart::file_id("file-1"))?;
    /// assert_eq!(json["file"]["file_id"], "file-1");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn file_id(id: impl Into<String>) -> Self {
        Self::new("file", "file", json!({ "file_id": id.into() }))
    }

    /// Returns a video by its URL.
    ///
    /// ```
    /// use fairkey_openrouter::ContentPart;
    ///
    /// let json = serde_json::to_value(ContentPart::video_url("https://example.com/x.mp4"))?;
    /// assert_eq!(json["video_url"]["url"], "https://example.com/x.mp4");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn video_url(url: impl Into<String>) -> Self {
        Self::new("video_url", "video_url", json!({ "url": url.into() }))
    }

    /// Marks the part as the end of what the provider caches.
    ///
    /// ```
    /// use fairkey_openrouter::{CacheControl, ContentPart};
    ///
    /// let part = ContentPart::text("A long text.").cache_control(CacheControl::ephemeral());
    /// assert_eq!(serde_json::to_value(&part)?["cache_control"]["type"], "ephemeral");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn cache_control(self, mark: CacheControl) -> Self {
        // The mark is an object of texts: it is always written.
        let mark = serde_json::to_value(mark).unwrap_or_default();
        self.with("cache_control", mark)
    }

    /// Sets any other field.
    ///
    /// ```
    /// use fairkey_openrouter::ContentPart;
    ///
    /// let part = ContentPart::text("Hi").with("later", 1);
    /// assert_eq!(part.fields["later"], 1);
    /// ```
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }

    /// Returns the text, if this part is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.kind.as_str() {
            "text" | "input_text" | "output_text" => self.fields.get("text")?.as_str(),
            _ => None,
        }
    }
}

open_enum! {
    /// How closely to look at an image.
    pub enum ImageDetail {
        /// As the model likes. The default.
        Auto = "auto",
        /// At a small copy of it.
        Low = "low",
        /// At all of it.
        High = "high",
        /// At all of it in its own size.
        Original = "original",
    }
}
