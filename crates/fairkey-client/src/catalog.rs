//! The catalogue of OpenRouter, fetched and kept: [`Catalog`].

mod builder;
mod file;
mod list;
mod slot;
mod source;

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fairkey_openrouter::{
    ModelEndpoints, ModelId, ModelList, ProviderList, ZdrEndpoints, endpoint,
};

use self::list::List;
use self::slot::{Kept, Slots, Status};
use self::source::{Got, Source};
use crate::error::{CallError, CallErrorKind};

pub use self::builder::{CatalogBuilder, CatalogConfig, Freshness};

/// The catalogue: models, who serves them and for how much, providers, and which endpoints retain
/// no data.
///
/// Each list is fetched when it is first asked for, and kept in memory until it is older than its
/// [maximal age](CatalogConfig); who asks for it meanwhile gets what is there. Those who ask at a
/// time share one fetch. A list that is too old is fetched again, by its entity tag where the
/// upstream gives one; where that fails, the old one is served, with its age and the reason in
/// [`Fetched`]. What is kept is bounded, and what nobody asks for goes first.
///
/// A key is not needed; with one, endpoints tell how fast they are. A key that is refused is
/// left out, and the list is asked for without it.
///
/// [`Client::catalog`](crate::Client::catalog) is one with the keys and connections of a client;
/// [`Catalog::builder`] makes one without a client. A clone shares everything.
///
/// ```
/// use fairkey_client::Catalog;
/// use fairkey_mock::MockOpenRouter;
/// use fairkey_openrouter::{ModelFilter, ModelOrder};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mock = MockOpenRouter::open().start().await?;
/// let catalog = Catalog::builder().base_url(mock.base_url()).build()?;
/// let models = catalog.models().await?;
/// let cheap = ModelFilter::new().max_prompt_usd_per_million(0.2);
/// let found = cheap.search(&models, ModelOrder::Price);
/// let endpoints = catalog.endpoints(&found[0].id).await?;
/// assert!(!endpoints.endpoints.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    config: CatalogConfig,
    slots: Mutex<Slots>,
    files: Option<file::Files>,
    warnings: Mutex<Vec<String>>,
}

/// A list, and how old it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched<T> {
    /// The list.
    pub value: Arc<T>,
    /// How long ago the upstream said so.
    pub age: Duration,
    /// Why there is no newer one, where it is older than it should be and the upstream could not be
    /// asked.
    pub stale: Option<CallError>,
}

impl<T> Deref for Fetched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl Catalog {
    /// Starts to build one.
    pub fn builder() -> CatalogBuilder {
        CatalogBuilder::new()
    }

    fn new(source: Source, config: CatalogConfig, files: Option<file::Files>) -> Self {
        Self {
            shared: Arc::new(Shared {
                source,
                config,
                slots: Mutex::default(),
                files,
                warnings: Mutex::default(),
            }),
        }
    }

    /// Returns all models, whatever they give out.
    ///
    /// # Errors
    ///
    /// [`CallErrorKind::Fault`] where the list is not there and cannot be fetched,
    /// [`CallErrorKind::Answer`] where what was fetched is no such list.
    ///
    /// # Cancel safety
    ///
    /// Dropped, a fetch is given up; who waits for the same list begins one.
    pub async fn models(&self) -> Result<Fetched<ModelList>, CallError> {
        self.get(models_path(), self.shared.config.models_max_age)
            .await
    }

    /// Returns the models that are kept, however old; fetches nothing, and waits for nothing.
    pub(crate) fn kept_models(&self) -> Option<Arc<ModelList>> {
        self.shared.lock().find(models_path())?.downcast().ok()
    }

    /// Returns the models that a provider serves, by its slug.
    ///
    /// # Errors
    ///
    /// As [`models`](Self::models). A provider that nobody knows serves none.
    pub async fn models_of(&self, provider: &str) -> Result<Fetched<ModelList>, CallError> {
        let provider = escaped(provider);
        let path = format!(
            "{}?output_modalities=all&providers={provider}",
            endpoint::MODELS
        );
        self.get(&path, self.shared.config.models_max_age).await
    }

    /// Returns the endpoints of a model. Variants that only change routing (`:nitro`) and presets
    /// make no difference.
    ///
    /// # Errors
    ///
    /// [`CallErrorKind::Request`] for what is no `author/slug`; [`CallErrorKind::Fault`] with the
    /// status 404 where there is no such model; otherwise as [`models`](Self::models).
    pub async fn endpoints(&self, model: &str) -> Result<Fetched<ModelEndpoints>, CallError> {
        let path = endpoints_path(model)
            .map_err(|message| CallError::new(CallErrorKind::Request, message))?;
        self.get(&path, self.shared.config.endpoints_max_age).await
    }

    /// Returns the providers.
    ///
    /// # Errors
    ///
    /// As [`models`](Self::models).
    pub async fn providers(&self) -> Result<Fetched<ProviderList>, CallError> {
        self.get(endpoint::PROVIDERS, self.shared.config.models_max_age)
            .await
    }

    /// Returns the endpoints with zero data retention, of all models.
    ///
    /// # Errors
    ///
    /// As [`models`](Self::models).
    pub async fn zdr(&self) -> Result<Fetched<ZdrEndpoints>, CallError> {
        self.get(endpoint::ENDPOINTS_ZDR, self.shared.config.models_max_age)
            .await
    }

    /// Returns what was wrong with the files of the cache since this was last asked, and forgets
    /// it. Nothing fails for it.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<String> {
        let warnings = self.shared.warnings.lock();
        std::mem::take(&mut warnings.unwrap_or_else(PoisonError::into_inner))
    }

    async fn get<T: List>(&self, path: &str, max_age: Duration) -> Result<Fetched<T>, CallError> {
        let shared = &*self.shared;
        let refresh = shared.config.freshness == Freshness::Refresh;
        let slot = shared.lock().slot(path, &shared.config);
        let (status, tries) = slot.status(max_age);
        if let Status::Fresh(kept) = status
            && !(refresh && tries == 0)
        {
            return fetched(kept, None);
        }
        let turn = slot.turn.lock().await;
        let (status, now) = slot.status(max_age);
        if now != tries {
            // Somebody else has fetched it meanwhile, for better or worse.
            return match (status, slot.error()) {
                (Status::Fresh(kept), _) => fetched(kept, None),
                (Status::Old(kept), error) => fetched(kept, error),
                (Status::None, Some(error)) => Err(error),
                (Status::None, None) => Err(gone(path)),
            };
        }
        if matches!(status, Status::None)
            && let Some((value, kept)) = shared.read::<T>(path).await
        {
            slot.keep(value, kept);
        }
        let (status, _) = slot.status(max_age);
        let kept = match status {
            Status::Fresh(kept) if !refresh || now > 0 => return fetched(kept, None),
            Status::Fresh(kept) | Status::Old(kept) => Some(kept),
            Status::None => None,
        };
        if shared.config.freshness == Freshness::Offline {
            return match kept {
                Some(kept) => fetched(kept, None),
                None => Err(offline(path)),
            };
        }
        if let (Some(kept), Some(error)) = (&kept, slot.error_within(shared.config.hold_off)) {
            return fetched(kept.clone(), Some(error));
        }
        let etag = kept.as_ref().and_then(|kept| kept.etag.clone());
        match shared
            .source
            .get::<T>(path, etag.as_ref(), kept.is_some())
            .await
        {
            Ok(Got::New { value, bytes, etag }) => {
                let value: Arc<T> = Arc::new(value);
                let kept = Kept::now(Arc::<T>::clone(&value), bytes, etag);
                shared.write(path, &*value, &kept).await;
                slot.succeed(kept.clone());
                drop(turn);
                shared.lock().shrink(path, &shared.config);
                fetched(kept, None)
            }
            Ok(Got::Same) => {
                let Some(kept) = kept else {
                    return Err(not_modified(path));
                };
                let kept = kept.again();
                if let Ok(value) = Arc::clone(&kept.value).downcast::<T>() {
                    shared.write(path, &*value, &kept).await;
                }
                slot.succeed(kept.clone());
                fetched(kept, None)
            }
            Err(error) => {
                let is_gone = error
                    .fault()
                    .is_some_and(|fault| fault.status() == Some(404));
                slot.fail(error.clone(), is_gone);
                if is_gone {
                    shared.forget(path).await;
                    return Err(error);
                }
                match kept {
                    Some(kept) => fetched(kept, Some(error)),
                    None => Err(error),
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn(&self, text: String) {
        /// Nobody may ever ask.
        const MOST: usize = 64;
        let mut all = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST && !all.contains(&text) {
            all.push(text);
        }
    }

    /// Reads a list from its file.
    async fn read<T: List>(&self, path: &str) -> Option<(Arc<T>, file::Found)> {
        let (files, path) = (self.files.clone()?, path.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let found = files.read(&path)?;
            let value = found.as_ref().map(|found| T::read(&found.body)).transpose();
            match value {
                Ok(value) => Ok(value.zip(found)),
                Err(what) => Err(files.corrupt(&path, what)),
            }
        });
        match read.await {
            Ok(Ok(found)) => found.map(|(value, found)| (Arc::new(value), found)),
            Ok(Err(warning)) => {
                self.warn(warning);
                None
            }
            Err(_) => None,
        }
    }

    async fn write<T: List>(&self, path: &str, value: &T, kept: &Kept) {
        let Some(files) = self.files.clone() else {
            return;
        };
        let (path, body, etag) = (path.to_owned(), value.write(), kept.etag.clone());
        let written = tokio::task::spawn_blocking(move || files.write(&path, &body, etag.as_ref()));
        if let Ok(Err(warning)) = written.await {
            self.warn(warning);
        }
    }

    async fn forget(&self, path: &str) {
        if let Some(files) = self.files.clone() {
            let path = path.to_owned();
            let _ = tokio::task::spawn_blocking(move || files.forget(&path)).await;
        }
    }
}

fn fetched<T: Any + Send + Sync>(
    kept: Kept,
    stale: Option<CallError>,
) -> Result<Fetched<T>, CallError> {
    let age = kept.age();
    match kept.value.downcast::<T>() {
        Ok(value) => Ok(Fetched { value, age, stale }),
        // A path decides the type.
        Err(_) => Err(CallError::new(
            CallErrorKind::Answer,
            "a list of another kind is kept under this path",
        )),
    }
}

fn offline(path: &str) -> CallError {
    let message = format!("offline, and {path} was never fetched");
    CallError::new(CallErrorKind::Request, message)
}

fn gone(path: &str) -> CallError {
    CallError::new(CallErrorKind::Answer, format!("{path} is gone"))
}

fn not_modified(path: &str) -> CallError {
    let message = format!("the upstream says that {path} is unchanged, which nobody has");
    CallError::new(CallErrorKind::Answer, message)
}

fn models_path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| format!("{}?output_modalities=all", endpoint::MODELS))
}

/// Returns the path of a model's endpoints.
fn endpoints_path(model: &str) -> Result<String, String> {
    let id = ModelId::parse(model).map_err(|error| error.to_string())?;
    endpoint::model_endpoints(&id)
        .ok_or_else(|| format!("{model:?} is no single model: write it as author/slug"))
}

/// Escapes what no value of a query may have.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("source", &self.shared.source)
            .field("config", &self.shared.config)
            .field("lists", &self.shared.lock().len())
            .finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn is<T: Clone + Send + Sync + 'static>() {}
    is::<Catalog>();
    is::<Fetched<ModelList>>();
};
