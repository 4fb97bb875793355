//! One unary call: [`Call`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{Class, Cost, Only, hash_label};
use fairkey_openrouter::profile::Routed;
use fairkey_openrouter::{ChatRequest, endpoint};
use fairkey_strategy::queue::Tenant;
use fairkey_transport::Deadlines;
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// One call whose answer is read whole: what [`Client::call`](crate::Client::call) takes.
///
/// The bytes of the body are sent as they are given. What else is set here tells the pool what
/// the call wants; OpenRouter reads the body.
///
/// ```
/// use std::time::Duration;
/// use fairkey_client::Call;
/// use fairkey_core::Class;
///
/// let call = Call::new("/chat/completions", r#"{"model":"a/b","messages":[]}"#)
///     .model("a/b")
///     .class(Class::Batch)
///     .deadline(Duration::from_secs(600));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until `Client::call`"]
pub struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Whether it says that its body is JSON, where `headers` do not say what it is.
    pub(crate) is_json: bool,
    pub(crate) body: Bytes,
    pub(crate) options: CallOptions,
}

/// What a call wants from the pool, and how long it may take.
///
/// [`Client::send`](crate::Client::send) finds it among the extensions of a request; a
/// [`Call`] has it inside.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// The model, so that gates on models, and the line to wait in, are right. Default: the one that
    /// the body names.
    ///
    /// Where the body has a list of its own for OpenRouter, the first of its models that no gate has
    /// closed counts as the one that is asked for. The body is sent as it is all the same, once for
    /// all of them.
    pub model: Option<Arc<str>>,
    /// The models to go on with where the first one is out or fails, in the order of preference;
    /// any number. The body is the same for each, byte for byte, but for its `model`. Default: none.
    ///
    /// Other keys come first, and after them the next model: see [`verdict`](crate::verdict()) for
    /// which fault leads where. A model that a gate has closed, or that no key is to be had for
    /// within [`RetryConfig::patience`](crate::RetryConfig::patience), is passed over.
    ///
    /// A body that has a list of its own for OpenRouter (`models`, at most three, or the
    /// `fallbacks` of Messages) is sent as it is, and so is one that is no JSON object: then these
    /// are not used.
    pub models: Vec<Arc<str>>,
    /// How many of these models, the first included, one attempt asks for: OpenRouter tries them
    /// one after the other itself, by `models` in the body, of which it takes at most
    /// [`MAX_MODELS`](fairkey_openrouter::MAX_MODELS). To gates, and in what is told of the
    /// attempt, they are the first of them. 0 counts as 1. Default 1: each model is asked for by
    /// attempts of its own.
    pub models_at_once: usize,
    /// How urgent the call is: while calls wait, [`QueueConfig`](crate::QueueConfig) says which
    /// part of what is free each class gets. Default [`Class::Normal`].
    pub class: Class,
    /// For whom the call is made: while calls wait, tenants share what is free by weight. Default:
    /// nobody in particular; all such calls are one tenant's, of weight 1.
    pub tenant: Option<Tenant>,
    /// The only keys that may serve the call. Calls that are restricted alike share a line while
    /// they wait. Default: any key may.
    pub only: Option<Arc<Only>>,
    /// Calls with the same value would like the same key. Default: none.
    pub affinity: Option<u64>,
    /// How long the caller waits, queueing and all attempts included, from the moment the call is
    /// made; for a stream, to its end. When it passes, nobody upstream is blamed. Default: no
    /// limit of the caller's own.
    pub deadline: Option<Duration>,
    /// What the call is expected to need; reserved while it is under way. Default `None`: the client
    /// [estimates](crate::Estimate) it from the body and from what it has learned of the model, for
    /// each of the call's models anew.
    pub cost: Option<Cost>,
    /// How long the parts of each attempt may take. Default: the client's.
    pub deadlines: Option<Deadlines>,
    /// The most attempts of this call, failovers aside, where that is fewer than the client's
    /// [`RetryConfig`](crate::RetryConfig) allows: for work that has used some of its attempts in
    /// calls before. Zero counts as 1. Default: as the client says.
    pub attempts: Option<u32>,
    /// The same for failovers; zero means none.
    pub failovers: Option<u32>,
    /// Whether [`Client::send`](crate::Client::send) returns an answer that is JSON only when it is
    /// whole, up to 8 MiB: then one that is a failure inside a 200 can be tried again like any
    /// other. A caller can do nothing with half of it. Default: false.
    pub hold_json: bool,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            model: None,
            models: Vec::new(),
            models_at_once: 1,
            class: Class::Normal,
            tenant: None,
            only: None,
            affinity: None,
            deadline: None,
            cost: None,
            deadlines: None,
            attempts: None,
            failovers: None,
            hold_json: false,
        }
    }
}

impl CallOptions {
    /// Sets the models of a request of which a route profile made another one: its body is what is
    /// to be sent.
    ///
    /// ```
    /// use fairkey_client::CallOptions;
    /// use fairkey_openrouter::profile::{Profile, Profiles};
    /// use fairkey_openrouter::endpoint;
    ///
    /// let models = ["a/1", "a/2", "a/3", "a/4"];
    /// let profiles = Profiles::new([("fast", Profile::new(models))])?;
    /// let body = br#"{"model":"fast","messages":[]}"#;
    /// if let Some(routed) = profiles.apply(endpoint::CHAT_COMPLETIONS, body)? {
    ///     let options = CallOptions::default().routed(&routed);
    ///     assert_eq!((options.models.len(), options.models_at_once), (3, 3));
    /// }
    /// # Ok::<(), fairkey_openrouter::profile::ProfileError>(())
    /// ```
    #[must_use]
    pub fn routed(mut self, routed: &Routed) -> Self {
        let mut models = routed.models.iter().map(|model| model.as_str().into());
        self.model = models.next();
        self.models = models.collect();
        self.models_at_once = routed.at_once;
        self
    }

    /// Names the tenant: a [`Tenant`] with its weight, or a name alone.
    ///
    /// ```
    /// use fairkey_client::{CallOptions, Tenant};
    ///
    /// let options = CallOptions::default().tenant(Tenant::new("search-team").weight(2));
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<Tenant>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Restricts the call to some keys.
    #[must_use]
    pub fn only(mut self, only: impl Into<Arc<Only>>) -> Self {
        self.only = Some(only.into());
        self
    }

    /// Reads what a chat request wants: its model, and its session as affinity, since OpenRouter
    /// keeps the provider's warm cache per account. What it needs is estimated from the bytes that
    /// are sent.
    #[must_use]
    pub fn of_chat(request: &ChatRequest) -> Self {
        Self {
            model: request.model.as_deref().map(Into::into),
            affinity: request.session_id.as_deref().map(hash_label),
            ..Self::default()
        }
    }
}

impl Call {
    /// Makes a `POST` of JSON to `path`, which is relative to the client's base URL.
    pub fn new(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            headers: HeaderMap::new(),
            is_json: true,
            body: body.into(),
            options: CallOptions::default(),
        }
    }

    /// Makes a call of a chat request, not streamed whatever the request says, with what
    /// [`CallOptions::of_chat`] reads from it.
    pub fn chat(request: &ChatRequest) -> Self {
        let body = if request.is_stream() {
            request.clone().stream(false).to_bytes()
        } else {
            request.to_bytes()
        };
        Self {
            options: CallOptions::of_chat(request),
            ..Self::new(endpoint::CHAT_COMPLETIONS, body)
        }
    }

    /// Makes a `GET` of `path`, which may carry a query.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            is_json: false,
            ..Self::new(path, Bytes::new())
        }
    }

    /// Sets the method. Default `POST`.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets a header. An `Authorization` is replaced by the key's.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Names the model, so that gates on models, and the line to wait in, are right.
    pub fn model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.options.model = Some(model.into());
        self
    }

    /// Names the models to go on with where the first one is out or fails, in the order of
    /// preference: see [`CallOptions::models`].
    ///
    /// ```
    /// use fairkey_client::Call;
    /// use fairkey_openrouter::ChatRequest;
    ///
    /// let request = ChatRequest::new("anthropic/claude-sonnet-4.5").user("What is 6 times 7?");
    /// let call = Call::chat(&request).fallbacks(["openai/gpt-4o", "google/gemini-2.5-flash"]);
    /// # let _ = call;
    /// ```
    pub fn fallbacks<M: Into<Arc<str>>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.options.models = models.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the models of a request of which a route profile made another one, whose body this
    /// call sends: see [`CallOptions::routed`].
    pub fn routed(mut self, routed: &Routed) -> Self {
        self.options = self.options.routed(routed);
        self
    }

    /// Sets how urgent the call is. Default [`Class::Normal`].
    pub fn class(mut self, class: Class) -> Self {
        self.options.class = class;
        self
    }

    /// Names for whom the call is made: see [`CallOptions::tenant`].
    pub fn tenant(mut self, tenant: impl Into<Tenant>) -> Self {
        self.options.tenant = Some(tenant.into());
        self
    }

    /// Asks for the key that other calls with the same `affinity` got, if it is well.
    pub fn affinity(mut self, affinity: u64) -> Self {
        self.options.affinity = Some(affinity);
        self
    }

    /// Sets how long the caller waits for the answer, queueing and all attempts included, from
    /// the moment the call is made. Default: no limit of the caller's own.
    ///
    /// When it passes, nobody upstream is blamed.
    pub fn deadline(mut self, within: Duration) -> Self {
        self.options.deadline = Some(within);
        self
    }

    /// Sets what the call is expected to need; reserved while it is under way. Default: an
    /// [estimate](crate::Estimate) of the client's.
    pub fn cost(mut self, cost: Cost) -> Self {
        self.options.cost = Some(cost);
        self
    }

    /// Sets the most attempts and the most failovers of this call, where that is fewer than the
    /// client allows: see [`CallOptions::attempts`].
    pub fn at_most(mut self, attempts: u32, failovers: u32) -> Self {
        self.options.attempts = Some(attempts);
        self.options.failovers = Some(failovers);
        self
    }

    /// Sets everything that the call wants at once.
    pub fn options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how long the parts of each attempt may take. Default: the client's.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.options.deadlines = Some(deadlines);
        self
    }
}
