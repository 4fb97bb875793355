//! What operators may ask, and say: [`AdminConfig`].
//!
//! | module | has |
//! | --- | --- |
//! | `path` | which path is what |
//! | `report` | keys, accounts and explanations as JSON |
//! | `decisions` | the last calls: which key, and why no other |

mod decisions;
mod path;
mod report;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use fairkey_core::Only;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use serde_json::{Value, json};

pub(crate) use self::decisions::{Decided, Decisions};
use self::path::{Query, Route, Word};
use crate::gateway::{Gateway, Shared};
use crate::relay::Outbound;
use crate::server::{Face, Listener, Serving};
use crate::tenant::{TenantConfig, Tenants};
use crate::{Admitted, Failure, Format, Guard, ListenAddr, Origins, Reason, TokenHash};

/// What reading the configuration again came to, as JSON, or why the old one stays.
pub type Reloading = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

type Reload = Arc<dyn Fn() -> Reloading + Send + Sync>;
type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How a gateway is administered.
#[derive(Clone, Default)]
pub struct AdminConfig {
    tokens: Vec<TokenHash>,
    reload: Option<Reload>,
    log: Option<Log>,
    decisions: Option<usize>,
}

impl AdminConfig {
    /// Starts with no token, which is for loopback and Unix sockets only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for this token, or another one that was added.
    #[must_use]
    pub fn token(mut self, token: TokenHash) -> Self {
        self.tokens.push(token);
        self
    }

    /// Sets what `POST /admin/v1/reload` does. Default: nothing; it is answered 404.
    #[must_use]
    pub fn reload(mut self, reload: impl Fn() -> Reloading + Send + Sync + 'static) -> Self {
        self.reload = Some(Arc::new(reload));
        self
    }

    /// Sets who is told of everything that operators change, in a line without secrets. Must not
    /// block. Default: nobody.
    #[must_use]
    pub fn log(mut self, log: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new(log));
        self
    }

    /// Sets how many calls are kept to be looked at; 0 keeps none. Default 1,000.
    #[must_use]
    pub fn decisions(mut self, most: usize) -> Self {
        self.decisions = Some(most);
        self
    }
}

impl fmt::Debug for AdminConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminConfig")
            .field("tokens", &self.tokens.len())
            .field("decisions", &self.decisions)
            .finish_non_exhaustive()
    }
}

/// What the listener for operators needs.
pub(crate) struct Admin {
    guard: Guard,
    /// `None`: nobody is asked who they are.
    operators: Option<Tenants>,
    reload: Option<Reload>,
    log: Option<Log>,
    pub(crate) decisions: Decisions,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Gateway {
    /// Serves operators on `listener`, which is not that of the callers. It goes on while the
    /// gateway drains.
    ///
    /// # Errors
    ///
    /// Where it can be reached from other machines and no token is asked for, and where there is
    /// such a listener already.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn serve_admin(&self, listener: Listener, config: AdminConfig) -> io::Result<Serving> {
        let refused = |message: String| io::Error::new(io::ErrorKind::PermissionDenied, message);
        let is_open = config.tokens.is_empty();
        if let ListenAddr::Tcp(addr) = listener.local()
            && is_open
            && !addr.ip().to_canonical().is_loopback()
        {
            return Err(refused(format!(
                "whoever reaches {addr} could administer the gateway: set a token for it, or \
                 listen on 127.0.0.1:{}",
                addr.port()
            )));
        }
        let operators = if is_open {
            None
        } else {
            let mut operators = TenantConfig::new("operator");
            operators.tokens = config.tokens;
            Some(Tenants::new([operators]).map_err(|error| refused(error.to_string()))?)
        };
        let admin = Admin {
            guard: if is_open {
                Guard::without_tokens(Origins::none(), [])
            } else {
                Guard::with_tokens(Origins::none())
            },
            operators,
            reload: config.reload,
            log: config.log,
            decisions: Decisions::new(config.decisions.unwrap_or(1_000)),
        };
        (self.shared.admin.set(admin))
            .map_err(|_| refused("there is a listener for operators already".to_owned()))?;
        Ok(Serving::start(&self.shared, listener, Face::Admin))
    }
}

/// Answers an operator. Whatever happens, there is an answer.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    id: Arc<str>,
) -> Response<Outbound> {
    let (parts, _) = request.into_parts();
    let Some(admin) = shared.admin.get() else {
        return told(StatusCode::NOT_FOUND, &Value::Null, &id);
    };
    let mut closes = false;
    let limits = &shared.settings().limits;
    let admitted = match limits.check_head(&parts) {
        Ok(()) => admin.guard.admit(&parts),
        Err(failure) => {
            closes = parts.version < Version::HTTP_2;
            Err(failure)
        }
    };
    let done = match admitted {
        Ok(Admitted::Request(_)) => admin.treat(&shared, &parts).await,
        Ok(Admitted::Preflight(_)) => Err(no_such_path()),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(value) => told(StatusCode::OK, &value, &id),
        Err(failure) => {
            let mut response = failure.to_response(Format::Chat, &id).map(Outbound::full);
            if closes {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            response
        }
    }
}

fn told(status: StatusCode, value: &Value, id: &str) -> Response<Outbound> {
    let mut response = Response::new(Outbound::full(Bytes::from(format!("{value:#}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(crate::headers::X_FAIRKEY_REQUEST_ID, id);
    }
    response
}

fn no_such_path() -> Failure {
    let message = "there is no such path for operators: they are those below /admin/v1 that the \
                   documentation lists";
    Failure::new(Reason::BadPath, message)
}

impl Admin {
    async fn treat(
        &self,
        shared: &Arc<Shared>,
        parts: &http::request::Parts,
    ) -> Result<Value, Failure> {
        if parts
            .headers
            .get_all(header::AUTHORIZATION)
            .iter()
            .nth(1)
            .is_some()
        {
            // Whatever stands before this listener may have looked at another one of them.
            let message = "the request has two headers \"Authorization\"";
            return Err(Failure::new(Reason::BadRequest, message));
        }
        if let Some(operators) = &self.operators
            && operators.authenticate(&parts.headers).is_err()
        {
            let message = "no token of an operator was sent, or an unknown one: send it as \
                           \"Authorization: Bearer TOKEN\"";
            return Err(Failure::new(Reason::Unauthorized, message));
        }
        let route = Route::of(parts.uri.path()).ok_or_else(no_such_path)?;
        if parts.method != route.method() {
            let message = format!("this path takes {}, not {}", route.method(), parts.method);
            return Err(Failure::new(Reason::BadMethod, message));
        }
        let query = Query::of(parts.uri.query().unwrap_or_default());
        let client = &shared.client;
        match route {
            Route::Status => Ok(report::status(shared)),
            Route::Keys => Ok(report::keys(client, query.get("model"))),
            Route::Key(key) => report::key(client, &key).ok_or_else(|| no_such("key", &key)),
            Route::Accounts => Ok(report::accounts(client)),
            Route::Explain => {
                let tenants = shared.tenants();
                let only = match query.get("tenant") {
                    None => None,
                    Some(name) => {
                        let mut all = tenants.all().iter();
                        let tenant = all.find(|tenant| tenant.id() == name);
                        tenant.ok_or_else(|| no_such("client", name))?.only()
                    }
                };
                report::explain(client, &query, only.map(|only: &Arc<Only>| &**only))
            }
            Route::Decisions => {
                let most = query.number("limit")?.unwrap_or(100);
                Ok(self.decisions.read(most))
            }
            Route::TellKey(key, word) => self.tell_key(shared, &key, word),
            Route::TellAccount(account, word) => self.tell_account(shared, &account, word),
            Route::Drain => {
                let is_news = shared.lifecycle.advance(crate::lifecycle::Stage::Draining);
                self.log("drain");
                Ok(json!({ "draining": true, "changed": is_news }))
            }
            Route::Reload => {
                let reload = self.reload.as_ref().ok_or_else(no_such_path)?;
                self.log("reload");
                let failed = |message: String| Failure::new(Reason::BadRequest, message);
                reload().await.map_err(failed)
            }
        }
    }

    fn tell_key(&self, shared: &Shared, key: &str, word: Word) -> Result<Value, Failure> {
        let client = &shared.client;
        if client.pool().with_keys(|keys| keys.find(key).is_none()) {
            return Err(no_such("key", key));
        }
        let switch = client.switch().ok_or_else(no_switch)?;
        let is_news = match word {
            Word::Clear => client.clear(key),
            Word::Pin => client.pin(key),
            Word::Unpin => switch.unpin_key(key),
            Word::Disable => client.disable(key),
            Word::Enable => switch.enable_key(key),
        };
        client.wake();
        self.log(&format!("{} key \"{key}\"", word.as_str()));
        let key = report::key(client, key);
        Ok(json!({ "changed": is_news, "key": key }))
    }

    fn tell_account(&self, shared: &Shared, account: &str, word: Word) -> Result<Value, Failure> {
        let client = &shared.client;
        let keys: Vec<String> = client.pool().with_keys(|keys| {
            let of = |key: &fairkey_core::Candidate<'_>| {
                key.account_id().is_some_and(|id| id.as_str() == account)
            };
            let keys = keys.iter().filter(of);
            keys.map(|key| key.id().to_string()).collect()
        });
        if keys.is_empty() {
            return Err(no_such("account", account));
        }
        let switch = client.switch().ok_or_else(no_switch)?;
        // `any` would leave out the rest.
        let each = |tell: &dyn Fn(&str) -> bool| keys.iter().filter(|key| tell(key)).count() > 0;
        let is_news = match word {
            Word::Clear => each(&|key| client.clear(key)),
            Word::Pin => each(&|key| client.pin(key)),
            Word::Unpin => each(&|key| switch.unpin_key(key)),
            Word::Disable => switch.disable_account(account),
            Word::Enable => switch.enable_account(account),
        };
        client.wake();
        self.log(&format!("{} account \"{account}\"", word.as_str()));
        Ok(json!({ "changed": is_news, "account": account, "keys": keys }))
    }

    fn log(&self, what: &str) {
        if let Some(log) = &self.log {
            log(&format!("an operator said: {what}"));
        }
    }
}

fn no_such(what: &str, name: &str) -> Failure {
    let plain = |c: &char| !c.is_control();
    let name: String = name.chars().filter(plain).take(100).collect();
    Failure::new(Reason::BadPath, format!("there is no {what} \"{name}\""))
}

fn no_switch() -> Failure {
    let message = "this gateway's pool has no switch for operators, since it has gates of its own";
    Failure::new(Reason::BadRequest, message)
}
