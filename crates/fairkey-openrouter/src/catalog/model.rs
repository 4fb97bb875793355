//! Models.

use serde_json::{Map, Value};

use super::Pricing;
use crate::lenient::{lenient_object, object};
use crate::request::Effort;

lenient_object! {
    /// The answer of `GET /models`.
    pub struct ModelList {
        /// The models of this page.
        data: items Model;
        /// How many there are on all pages.
        total_count: count u64;
        /// Where the next page is.
        links: some Value;
    }
}

impl ModelList {
    /// Reads a list from JSON.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json)
    }

    /// Returns the model with the identifier `id`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Model> {
        self.data.iter().find(|model| model.id == id)
    }

    /// Returns where the next page is, if there is one.
    #[must_use]
    pub fn next_page(&self) -> Option<&str> {
        self.links.as_ref()?.get("next")?.as_str()
    }
}

lenient_object! {
    /// One model.
    pub struct Model {
        /// The identifier that requests name.
        id: plain String;
        /// The identifier that does not change when the model is renamed.
        canonical_slug: some String;
        /// The name that people read.
        name: plain String;
        /// What it is.
        description: some String;
        /// When it was listed, in seconds since 1970.
        created: count u64;
        /// The most tokens of prompt and completion together.
        context_length: count u64;
        /// What goes in and what comes out.
        architecture: plain Architecture;
        /// What it costs at least.
        pricing: plain Pricing;
        /// What the provider at the top allows.
        top_provider: plain TopProvider;
        /// What a request may use at most, by kind of token.
        per_request_limits: some Map<String, Value>;
        /// The parameters that at least one provider supports.
        supported_parameters: items String;
        /// The parameters that are set where the request sets none.
        default_parameters: some Map<String, Value>;
        /// How it reasons; none for models that do not.
        reasoning: some ModelReasoning;
        /// The day after which it may be gone, `YYYY-MM-DD`.
        expiration_date: some String;
        /// The last day of its training data, `YYYY-MM-DD`.
        knowledge_cutoff: some String;
        /// The name of its weights at Hugging Face.
        hugging_face_id: some String;
        /// The voices of a model that speaks.
        supported_voices: some Vec<String>;
        /// The model that an alias such as `~author/family-latest` means now.
        alias_target: some AliasTarget;
        /// Where more is told about it.
        links: some Map<String, Value>;
    }
}

impl Model {
    /// Returns whether the model is free of charge: both token prices are zero. Not only models
    /// with `:free` in their name are.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.pricing.is_free()
    }

    /// Returns the author, the part of the identifier before the slash.
    #[must_use]
    pub fn author(&self) -> &str {
        self.id.split_once('/').map_or("", |(author, _)| author)
    }

    /// Returns whether at least one provider supports the parameter.
    #[must_use]
    pub fn supports(&self, parameter: &str) -> bool {
        self.supported_parameters.iter().any(|own| own == parameter)
    }
}

lenient_object! {
    /// What goes into a model, and what comes out.
    pub struct Architecture {
        /// Both in short, such as `text+image->text`.
        modality: some String;
        /// What goes in: `text`, `image`, `file`, `audio`, `video`.
        input_modalities: items String;
        /// What comes out: `text`, `image`, `audio`, `embeddings` and so on.
        output_modalities: items String;
        /// The family of its tokenizer.
        tokenizer: some String;
        /// How instructions are written.
        instruct_type: some String;
    }
}

lenient_object! {
    /// What the provider at the top allows.
    pub struct TopProvider {
        /// The most tokens of prompt and completion together.
        context_length: count u64;
        /// The most tokens of a completion.
        max_completion_tokens: count u64;
        /// Whether prompts are moderated.
        is_moderated: some bool;
    }
}

lenient_object! {
    /// How a model reasons.
    pub struct ModelReasoning {
        /// Whether it cannot be switched off.
        mandatory: plain bool;
        /// Whether it reasons where the request does not say.
        default_enabled: some bool;
        /// With which effort, where the request does not say.
        default_effort: some Effort;
        /// The efforts that it takes; `None`: all.
        supported_efforts: some Vec<Effort>;
        /// Whether it takes a number of tokens to reason with.
        supports_max_tokens: some bool;
    }
}

lenient_object! {
    /// The model that an alias means now.
    pub struct AliasTarget {
        /// Its identifier.
        slug: plain String;
        /// The name that people read.
        name: plain String;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_free_by_its_price_not_by_its_name() {
        let list = ModelList::from_slice(
            br#"{"data":[
                {"id":"a/b","pricing":{"prompt":"0","completion":"0"}},
                {"id":"a/c:free","pricing":{"prompt":"0.000001","completion":"0"},"later":1},
                {"id":"openrouter/auto","pricing":{"prompt":"-1","completion":"-1"}},
                {"id":"a/d","pricing":null,"supported_parameters":null}],"total_count":4}"#,
        )
        .unwrap();
        let free: Vec<_> = list.data.iter().map(Model::is_free).collect();
        assert_eq!(free, [true, false, false, false]);
        assert_eq!(
            list.find("a/c:free").unwrap().pricing.cost_usd(1000, 5),
            Some(0.001)
        );
        assert_eq!(
            list.find("openrouter/auto").unwrap().pricing.cost_usd(1, 1),
            None
        );
        assert!(list.find("x").is_none());
    }

    #[test]
    fn odd_members_cost_only_themselves() {
        let list = ModelList::from_slice(
            br#"{"data":[7,{"id":"a/b","name":5,"context_length":"8192","created":1.5e9,
                "architecture":[],"supported_parameters":["tools",3],"top_provider":{"later":1},
                "reasoning":{"mandatory":"yes","supported_efforts":["low","mauve"]}}],
                "total_count":null,"links":{"next":"/models?offset=500"}}"#,
        )
        .unwrap();
        let [model] = list.data.as_slice() else {
            panic!("one model reads")
        };
        assert_eq!((model.id.as_str(), model.author()), ("a/b", "a"));
        assert_eq!(
            (model.name.as_str(), model.context_length),
            ("", Some(8192))
        );
        assert_eq!(model.created, Some(1_500_000_000));
        assert!(model.supports("tools") && !model.supports("seed"));
        assert_eq!(model.top_provider.extra["later"], 1);
        let efforts = model.reasoning.as_ref().unwrap().supported_efforts.as_ref();
        assert_eq!(
            efforts.unwrap(),
            &[Effort::Low, Effort::Other("mauve".into())]
        );
        assert_eq!(list.next_page(), Some("/models?offset=500"));
        assert!(ModelList::from_slice(b"[]").is_err());
    }
}
