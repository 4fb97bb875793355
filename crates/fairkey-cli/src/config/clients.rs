//! Who may use the gateway: the tables `[[clients]]`.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use fairkey_core::{ApiKey, Class};
use fairkey_gateway::{
    Budget, Globs, Operation, Per, Rate, TenantConfig, TenantLimits, Tenants, TokenHash,
};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use toml::Spanned;

use super::bounds;
use super::gateway::{ClassName, operations};
use super::limits::{Amount, Usd, Window};
use super::secret::Secret;
use super::{Config, SecretFrom, Sources, Wrong, duration, label};

/// Shorter tokens can be guessed.
const SHORTEST: usize = 16;

const MINUTE: Duration = Duration::from_secs(60);

/// What a table may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    id: Spanned<String>,
    token: Spanned<Tokens>,
    models: Option<Spanned<Vec<String>>>,
    routes: Option<Vec<Spanned<String>>>,
    class: Option<ClassName>,
    #[serde(default, deserialize_with = "bounds::client_weight")]
    weight: Option<u32>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
    #[serde(default)]
    limits: Option<Spanned<Limits>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    requests_per_minute: Option<Amount>,
    tokens_per_minute: Option<Amount>,
    requests: Option<Spanned<Window>>,
    tokens: Option<Spanned<Window>>,
    usd_per_hour: Option<Usd>,
    usd_per_day: Option<Usd>,
    usd_per_week: Option<Usd>,
    usd_per_month: Option<Usd>,
    usd_in_all: Option<Usd>,
    usd_unpriced: Option<Usd>,
    in_flight: Option<Amount>,
}

/// One client, as it holds.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) tenant: TenantConfig,
    /// Where its tokens are.
    pub(super) from: Vec<TokenFrom>,
}

/// Where a token is.
#[derive(Clone, Debug)]
pub(super) enum TokenFrom {
    Secret(SecretFrom),
    /// Its hash is in the configuration, which nobody can turn back.
    Sha256(TokenHash),
}

/// A token, or several while one takes the place of another. It has no `Debug`.
struct Tokens(Vec<Token>);

enum Token {
    Secret(Secret),
    Sha256(Spanned<String>),
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Some;

        impl<'de> Visitor<'de> for Some {
            type Value = Tokens;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "a token: { env = … }, { file = … }, { sha256 = … }, a string, or several \
                     of these",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Tokens, E> {
                let from = de::value::StrDeserializer::new(text);
                Ok(Tokens(vec![Token::deserialize(from)?]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tokens, A::Error> {
                let from = MapAccessDeserializer::new(map);
                Ok(Tokens(vec![Token::deserialize(from)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Tokens, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Tokens)
            }
        }

        from.deserialize_any(Some)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Where;

        impl<'de> Visitor<'de> for Where {
            type Value = Token;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a token: { env = … }, { file = … }, { sha256 = … } or a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Token, E> {
                Ok(Token::Secret(Secret::literal(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Token, A::Error> {
                let one =
                    || de::Error::custom("a token has exactly one of `env`, `file` and `sha256`");
                let token = match map.next_key::<String>()?.as_deref() {
                    Some("env") => Token::Secret(Secret::Env(map.next_value()?)),
                    Some("file") => Token::Secret(Secret::File(map.next_value()?)),
                    Some("sha256") => Token::Sha256(map.next_value()?),
                    _ => return Err(one()),
                };
                match map.next_key::<String>()? {
                    None => Ok(token),
                    Some(_) => Err(one()),
                }
            }
        }

        from.deserialize_any(Where)
    }
}

impl Config {
    /// Reads the clients. Those that say no class have that of the gateway.
    pub(super) fn add_clients(
        &mut self,
        tables: Vec<Table>,
        dir: &Path,
        sources: &Sources<'_>,
    ) -> Result<(), Wrong> {
        let (mut ids, mut hashes) = (HashSet::new(), HashSet::new());
        let class = self.gateway.class;
        for table in tables {
            let id_at = table.id.span().start;
            let token_at = table.token.span().start;
            let client = self.client(table, class, dir, sources)?;
            let id = client.tenant.id.clone();
            if !ids.insert(id.clone()) {
                return Err(Wrong {
                    at: id_at,
                    message: format!("client \"{id}\" is declared twice: give each its own id"),
                });
            }
            for hash in &client.tenant.tokens {
                if !hashes.insert(*hash) {
                    return Err(Wrong {
                        at: token_at,
                        message: format!(
                            "client \"{id}\" has a token that is there already: give each one of \
                             its own"
                        ),
                    });
                }
            }
            // What is wrong with one alone.
            Tenants::new([client.tenant.clone()]).map_err(|error| Wrong {
                at: id_at,
                message: error.to_string(),
            })?;
            self.clients.push(client);
        }
        Ok(())
    }

    fn client(
        &mut self,
        table: Table,
        class: Class,
        dir: &Path,
        sources: &Sources<'_>,
    ) -> Result<Client, Wrong> {
        let id = label(table.id, "a client's id")?.into_inner();
        let mut tenant = TenantConfig::new(id.as_str());
        tenant.class = table.class.map_or(class, Into::into);
        tenant.weight = table.weight.unwrap_or(1);
        let at = table.token.span().start;
        let mut from = Vec::new();
        for token in table.token.into_inner().0 {
            match token {
                Token::Secret(secret) => {
                    let (hash, place) = self.token(secret, &id, dir, sources, at)?;
                    tenant.tokens.push(hash);
                    from.push(TokenFrom::Secret(place));
                }
                Token::Sha256(hex) => {
                    let at = hex.span().start;
                    let hash = hex.get_ref().parse::<TokenHash>();
                    let hash = hash.map_err(|error| Wrong {
                        at,
                        message: error.to_string(),
                    })?;
                    tenant.tokens.push(hash);
                    from.push(TokenFrom::Sha256(hash));
                }
            }
        }
        if let Some(models) = table.models {
            let at = models.span().start;
            tenant.models = names(models.into_inner(), at, "models")?;
        }
        if let Some(routes) = table.routes {
            for route in &routes {
                let name = route.get_ref();
                if !name.contains('*') && Operation::from_name(name).is_none() {
                    return Err(Wrong {
                        at: route.span().start,
                        message: format!("there is no such operation; there are {}", operations()),
                    });
                }
            }
            let routes: Vec<_> = routes.into_iter().map(Spanned::into_inner).collect();
            tenant.routes = names(routes, at, "routes")?;
        }
        self.warn_of_missing(&id, &table.keys, &table.accounts);
        tenant.keys = table.keys.iter().map(|key| key.as_str().into()).collect();
        let accounts = table.accounts.iter();
        tenant.accounts = accounts.map(|account| account.as_str().into()).collect();
        if let Some(limits) = table.limits {
            tenant.limits = limited(limits)?;
        }
        Ok(Client { tenant, from })
    }

    fn token(
        &mut self,
        secret: Secret,
        id: &str,
        dir: &Path,
        sources: &Sources<'_>,
        at: usize,
    ) -> Result<(TokenHash, SecretFrom), Wrong> {
        let place = secret.from();
        if let SecretFrom::Env(name, _) = &place {
            self.variables.push(name.clone());
        }
        let what = format!("the token of client \"{id}\"");
        let token = secret.fetch(&what, dir, sources, &mut self.warnings);
        let token = token.map_err(|message| Wrong { at, message })?;
        if token.expose().len() < SHORTEST {
            self.warnings.push(format!(
                "{what} has under {SHORTEST} characters and may be guessed: take a random one, \
                 such as that of `openssl rand -hex 24`"
            ));
        }
        if self.keys.iter().any(|key| key.secret().is_same(&token)) {
            return Err(Wrong {
                at,
                message: format!("{what} is one of the keys: give it a token of its own"),
            });
        }
        let hash = TokenHash::of(token.expose());
        self.tokens.push(token);
        Ok((hash, place))
    }

    /// Warns of keys and accounts that no table has: the client could never be served by them.
    fn warn_of_missing(&mut self, id: &str, keys: &[String], accounts: &[String]) {
        if self.keys.is_empty() {
            // Those of the environment are not known here.
            return;
        }
        let all: Vec<_> = self.keys.iter().map(|key| key.id().as_str()).collect();
        let mut missing: Vec<_> = (keys.iter())
            .filter(|key| !all.contains(&key.as_str()))
            .map(|key| ("key", key))
            .collect();
        let all: Vec<_> = (self.keys.iter())
            .filter_map(|key| Some(key.account_id()?.as_str()))
            .collect();
        let accounts = accounts.iter().filter(|it| !all.contains(&it.as_str()));
        missing.extend(accounts.map(|account| ("account", account)));
        let warnings = missing.into_iter().map(|(what, name)| {
            format!("client \"{id}\" may use the {what} \"{name}\", which no [[keys]] has")
        });
        self.warnings.extend(warnings);
    }
}

/// Names with `*` in them.
fn names(names: Vec<String>, at: usize, what: &str) -> Result<Globs, Wrong> {
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(Wrong {
            at,
            message: format!("these {what} allow nothing: name one, or leave {what} out for any"),
        });
    }
    Ok(Globs::new(names))
}

fn limited(table: Spanned<Limits>) -> Result<TenantLimits, Wrong> {
    let at = table.span().start;
    let table = table.into_inner();
    let mut limits = TenantLimits {
        requests: rate("requests", table.requests_per_minute, table.requests)?,
        tokens: rate("tokens", table.tokens_per_minute, table.tokens)?,
        in_flight: table
            .in_flight
            .map(|Amount(n)| u32::try_from(n).unwrap_or(u32::MAX)),
        unpriced_micro_usd: table.usd_unpriced.map_or(0, |Usd(micros)| micros),
        ..TenantLimits::default()
    };
    let money = [
        (table.usd_per_hour, Per::Hour),
        (table.usd_per_day, Per::Day),
        (table.usd_per_week, Per::Week),
        (table.usd_per_month, Per::Month),
        (table.usd_in_all, Per::Total),
    ];
    for (usd, per) in money {
        if let Some(Usd(micro_usd)) = usd {
            limits.money.push(Budget { micro_usd, per });
        }
    }
    if limits.money.is_empty() && limits.unpriced_micro_usd > 0 {
        return Err(Wrong {
            at,
            message: "usd_unpriced is what a call of unknown price takes out of a limit of money: \
                      give one, such as usd_per_day, or leave it out"
                .to_owned(),
        });
    }
    if limits == TenantLimits::default() {
        return Err(Wrong {
            at,
            message: "these limits say nothing: give one, such as requests_per_minute, or leave \
                      them out"
                .to_owned(),
        });
    }
    Ok(limits)
}

fn rate(
    of: &str,
    minute: Option<Amount>,
    window: Option<Spanned<Window>>,
) -> Result<Option<Rate>, Wrong> {
    match (minute, window) {
        (Some(_), Some(twice)) => Err(Wrong {
            at: twice.span().start,
            message: format!(
                "{of} are limited twice: give either {of}_per_minute, or {of} with a window of \
                 its own"
            ),
        }),
        (Some(Amount(limit)), None) => Ok(Some(Rate { limit, per: MINUTE })),
        (None, window) => Ok(window.map(|window| {
            let Window { limit, per } = window.into_inner();
            Rate {
                limit: limit.0,
                per: per.0,
            }
        })),
    }
}

/// Returns limits as a file says them.
pub(super) fn shown(limits: &TenantLimits) -> Value {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    for (name, rate) in [("requests", limits.requests), ("tokens", limits.tokens)] {
        match rate {
            Some(Rate { limit, per }) if per == MINUTE => {
                add(&format!("{name}_per_minute"), limit.into());
            }
            Some(Rate { limit, per }) => {
                add(name, json!({ "limit": limit, "per": duration::text(per) }));
            }
            None => {}
        }
    }
    for budget in &limits.money {
        let name = match budget.per {
            Per::Total => "usd_in_all".to_owned(),
            per => format!("usd_per_{}", per.as_str()),
        };
        add(&name, json!(budget.micro_usd as f64 / 1e6));
    }
    if limits.unpriced_micro_usd > 0 {
        add(
            "usd_unpriced",
            json!(limits.unpriced_micro_usd as f64 / 1e6),
        );
    }
    if let Some(calls) = limits.in_flight {
        add("in_flight", calls.into());
    }
    Value::Object(fields)
}

/// The tokens that stand in the configuration or that it points to, to keep them out of what is
/// printed.
pub(super) type TokenSecrets = Vec<ApiKey>;
