//! The models of a call that may ask for several: [`Models`].

use std::sync::Arc;

use bytes::Bytes;
use fairkey_openrouter::splice::{self, Splice, SpliceError};

/// How many models of a list are looked at; OpenRouter takes no more than three.
const MOST_OWN: usize = 8;

/// The models of one call in the order of the caller's preference, and what became of them.
#[derive(Debug)]
pub(crate) struct Models {
    /// The first is what the call asks for as it is; it may name none.
    chain: Vec<Model>,
    now: usize,
    /// Whether an attempt with the present one was made: then it is kept until it fails.
    begun: bool,
    /// The body has the whole chain in it, for OpenRouter: it is sent as it is, and once.
    is_own: bool,
}

#[derive(Debug)]
struct Model {
    /// The model; of those that are asked for at once, the first.
    name: Option<Arc<str>>,
    /// The others that are asked for at once.
    with: Vec<Arc<str>>,
    failed: bool,
}

impl Models {
    /// One model, or none that is named.
    fn one(name: Option<Arc<str>>) -> Self {
        Self {
            chain: vec![Model {
                name,
                with: Vec::new(),
                failed: false,
            }],
            now: 0,
            begun: false,
            is_own: false,
        }
    }

    /// The models of a call whose body has a list of its `own` for OpenRouter; the caller may have
    /// named `first` beside it.
    pub(crate) fn own(first: Option<&Arc<str>>, own: &[Arc<str>]) -> Self {
        let mut names: Vec<Arc<str>> = Vec::new();
        for name in first.into_iter().chain(own) {
            if !names.contains(name) && names.len() < MOST_OWN {
                names.push(Arc::clone(name));
            }
        }
        let model = |name| Model {
            name: Some(name),
            with: Vec::new(),
            failed: false,
        };
        Self {
            chain: names.into_iter().map(model).collect(),
            now: 0,
            begun: false,
            is_own: true,
        }
    }

    /// The models of a call with this body, `fallbacks` after the `first`.
    ///
    /// There are none to fall back on where the body cannot name another one: it is no JSON
    /// object, or has a list of its own for OpenRouter (`models`, or `fallbacks` of Messages),
    /// which is sent as it is. So many are asked for `at_once`, by `models`; a first one without a
    /// name stays alone.
    pub(crate) fn of(
        first: Option<Arc<str>>,
        fallbacks: &[Arc<str>],
        at_once: usize,
        body: &[u8],
    ) -> Self {
        let mut models = Self::one(first);
        if fallbacks.is_empty() {
            return models;
        }
        let Ok([None, None]) = splice::find(body, ["models", "fallbacks"]) else {
            return models;
        };
        if models.chain[0].name.is_none()
            && let Ok(peek) = splice::peek(body)
        {
            models.chain[0].name = peek.model.map(|model| model.as_ref().into());
        }
        let mut known: Vec<&Arc<str>> = Vec::new();
        for name in fallbacks {
            // A model that failed is not asked again under the same name.
            if models.chain[0].name.as_ref() == Some(name) || known.contains(&name) {
                continue;
            }
            known.push(name);
            match models.chain.last_mut() {
                Some(last) if last.name.is_some() && last.with.len() + 1 < at_once => {
                    last.with.push(Arc::clone(name));
                }
                _ => models.chain.push(Model {
                    name: Some(Arc::clone(name)),
                    with: Vec::new(),
                    failed: false,
                }),
            }
        }
        models
    }

    /// Returns the present model's place in the chain.
    pub(crate) fn now(&self) -> usize {
        self.now
    }

    /// Returns the present model's name, where it has one; of several, that of the first.
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.chain[self.now].name.as_ref()
    }

    /// Returns the names of all that one attempt with the present model may be served by.
    pub(crate) fn at_once(&self) -> impl Iterator<Item = &Arc<str>> {
        let all = if self.is_own {
            &self.chain[..]
        } else {
            &self.chain[self.now..=self.now]
        };
        all.iter()
            .flat_map(|model| model.name.iter().chain(&model.with))
    }

    /// Returns how many other models the call may fall back on.
    pub(crate) fn left(&self) -> u32 {
        if self.is_own { 0 } else { self.others() }
    }

    /// Returns how many other models the call has not failed with.
    pub(crate) fn others(&self) -> u32 {
        let others = |at: usize, model: &Model| at != self.now && !model.failed;
        let left = (self.chain.iter().enumerate())
            .filter(|(at, model)| others(*at, model))
            .count();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Returns the places of the models that can be asked for, in the order of preference: one
    /// that was asked for already is kept while it can be had.
    pub(crate) fn candidates(&self) -> Vec<usize> {
        let kept = self.begun.then_some(self.now);
        let rest = (0..self.chain.len()).filter(|at| !self.chain[*at].failed && kept != Some(*at));
        kept.into_iter().chain(rest).collect()
    }

    /// Asks for another model. Its place must be among the candidates.
    pub(crate) fn choose(&mut self, at: usize) {
        self.begun &= at == self.now;
        self.now = at;
    }

    /// Notes that an attempt with the present model begins.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    /// Notes that the present model failed, and moves on to the next one that has not; tells
    /// whether there is one.
    pub(crate) fn fail(&mut self) -> bool {
        self.chain[self.now].failed = true;
        self.begun = false;
        if self.is_own {
            // Whoever got the list has tried them all.
            return false;
        }
        match self.chain.iter().position(|model| !model.failed) {
            Some(next) => {
                self.now = next;
                true
            }
            None => false,
        }
    }

    /// Returns the body that asks for the present model: that of the caller, byte for byte, but
    /// for the name of the model where it is not the first.
    pub(crate) fn body(&self, body: &Bytes) -> Result<Bytes, SpliceError> {
        if self.is_own {
            return Ok(body.clone());
        }
        let Model { name, with, .. } = &self.chain[self.now];
        let Some(name) = name else {
            return Ok(body.clone());
        };
        let mut edit = Splice::new(body.clone());
        if self.now > 0 {
            edit = edit.set("model", &**name);
        }
        if !with.is_empty() {
            let all: Vec<&str> = [name].into_iter().chain(with).map(|name| &**name).collect();
            edit = edit.set("models", all);
        }
        edit.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(body: &str) -> Models {
        let names = ["m/a", "m/b", "m/a", "m/c", "m/b"].map(Into::into);
        Models::of(None, &names, 1, body.as_bytes())
    }

    #[test]
    fn as_many_are_asked_for_at_once_as_may_be() {
        let names = ["m/b", "m/c", "m/b", "m/d", "m/e"].map(Into::into);
        let body = r#"{"model": "m/a", "x":1.0}"#;
        let mut models = Models::of(None, &names, 3, body.as_bytes());
        let bytes = Bytes::from(body);
        assert_eq!(
            models.body(&bytes).unwrap(),
            r#"{"model": "m/a", "x":1.0,"models":["m/a","m/b","m/c"]}"#
        );
        assert_eq!(models.left(), 1);
        assert!(models.fail());
        assert_eq!(models.name().map(|name| &**name), Some("m/d"));
        assert_eq!(
            models.body(&bytes).unwrap(),
            r#"{"model": "m/d", "x":1.0,"models":["m/d","m/e"]}"#
        );
        assert!(!models.fail());

        let mut unnamed = Models::of(None, &names, 3, b"{}");
        assert_eq!(unnamed.body(&Bytes::from("{}")).unwrap(), "{}");
        assert!(unnamed.fail());
        assert_eq!(
            unnamed.body(&Bytes::from("{}")).unwrap(),
            r#"{"model":"m/b","models":["m/b","m/c","m/d"]}"#
        );
        assert!(unnamed.fail());
        assert_eq!(
            unnamed.body(&Bytes::from("{}")).unwrap(),
            r#"{"model":"m/e"}"#
        );
    }

    #[test]
    fn a_body_asks_for_another_model_by_that_member_alone() {
        let body = r#"{ "n": 1.000000000000000000001, "model" : "m/a","x":[ ] }"#;
        let mut models = models(body);
        let bytes = Bytes::from(body);
        assert_eq!(models.body(&bytes).unwrap(), body);
        assert_eq!(models.name().map(|name| &**name), Some("m/a"));
        assert!(models.fail());
        assert_eq!(
            models.body(&bytes).unwrap(),
            body.replace("m/a", "m/b"),
            "every other byte is the caller's"
        );
        assert!(models.fail(), "a name that comes twice is one model");
        assert_eq!(models.body(&bytes).unwrap(), body.replace("m/a", "m/c"));
        assert_eq!(models.left(), 0);
        assert!(!models.fail());
    }

    #[test]
    fn a_body_that_names_no_model_names_the_next_one() {
        let mut models = models(r#"{"input":"x"}"#);
        assert_eq!((models.name(), models.left()), (None, 3));
        assert!(models.fail());
        assert_eq!(
            models.body(&Bytes::from(r#"{"input":"x"}"#)).unwrap(),
            r#"{"input":"x","model":"m/a"}"#
        );
    }

    #[test]
    fn a_body_with_a_list_of_its_own_or_none_at_all_is_sent_as_it_is() {
        for body in [
            r#"{"model":"m/a","models":["m/a","m/x"]}"#,
            r#"{"model":"m/a","fallbacks":[{"model":"m/x"}]}"#,
            "",
            "[1]",
            "not json",
        ] {
            assert_eq!(models(body).left(), 0, "{body}");
        }
    }

    #[test]
    fn a_model_that_was_passed_over_is_a_candidate_again_and_a_failed_one_is_not() {
        let mut models = models(r#"{"model":"m/a"}"#);
        assert_eq!(models.candidates(), [0, 1, 2]);
        models.choose(1);
        models.begin();
        assert_eq!((models.candidates(), models.left()), (vec![1, 0, 2], 2));
        assert!(models.fail());
        assert_eq!((models.now(), models.candidates()), (0, vec![0, 2]));
    }
}
