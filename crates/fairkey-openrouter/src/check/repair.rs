//! Repairing what can only be meant in one way.

use serde_json::Value;

use super::{Finding, Findings};
use crate::catalog::ProviderList;
use crate::request::{ChatRequest, Plugin};
use crate::slug;

impl ChatRequest {
    /// Repairs what can only be meant in one way, and returns what was repaired: display names of
    /// providers become slugs, `transforms: ["middle-out"]` the plugin that took its place.
    ///
    /// With the list of providers, slips of the pen in slugs are repaired, too.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, ProviderPreferences};
    ///
    /// let bedrock = ProviderPreferences::new().only(["AWS Bedrock"]);
    /// let mut request = ChatRequest::new("a/b").provider(bedrock);
    /// let repaired = request.repair(None);
    /// assert_eq!(repaired[0].field, "provider.only[0]");
    /// assert_eq!(request.provider.unwrap().only.unwrap(), ["amazon-bedrock"]);
    /// ```
    pub fn repair(&mut self, providers: Option<&ProviderList>) -> Vec<Finding> {
        let mut to = Findings::default();
        if let Some(own) = &mut self.provider {
            for (field, list) in [
                ("order", &mut own.order),
                ("only", &mut own.only),
                ("ignore", &mut own.ignore),
            ] {
                for (place, entry) in list.iter_mut().flatten().enumerate() {
                    let Some(slug) = slug::repaired(entry, providers) else {
                        continue;
                    };
                    let slug = slug.into_owned();
                    to.warning(
                        format!("provider.{field}[{place}]"),
                        format!("{entry:?}"),
                        "it is no provider's slug",
                        format!("sent as {slug:?}"),
                    );
                    *entry = slug;
                }
            }
        }
        let is_old = |value: &Value| *value == serde_json::json!(["middle-out"]);
        if self.extra.get("transforms").is_some_and(is_old) {
            self.extra.remove("transforms");
            let plugins = self.plugins.get_or_insert_default();
            if !plugins
                .iter()
                .any(|plugin| plugin.id == "context-compression")
            {
                plugins.push(Plugin::context_compression().engine("middle-out"));
            }
            to.warning(
                "transforms",
                "[\"middle-out\"]",
                "it is the old form of the plugin context-compression",
                "sent as this plugin",
            );
        }
        to.0
    }
}
