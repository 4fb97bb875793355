//! Providers.

use crate::lenient::{lenient_object, object};

lenient_object! {
    /// The answer of `GET /providers`.
    pub struct ProviderList {
        /// The providers.
        data: items Provider;
    }
}

lenient_object! {
    /// One provider.
    pub struct Provider {
        /// The name that people read.
        name: plain String;
        /// The slug that routing fields name.
        slug: plain String;
        /// Where it says what it does with data.
        privacy_policy_url: some String;
        /// Its terms.
        terms_of_service_url: some String;
        /// Where it says how it is.
        status_page_url: some String;
        /// The country of its seat, by its two letters.
        headquarters: some String;
        /// The countries of its machines.
        datacenters: some Vec<String>;
    }
}

impl ProviderList {
    /// Reads the list from JSON.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json)
    }
}
