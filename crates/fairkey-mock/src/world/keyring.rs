//! Keys that are listed, made, changed and deleted while the mock runs.

use serde_json::{Value, json};

use crate::clock::Reset;
use crate::fault::Fault;
use crate::key::Key;
use crate::log::{Entry, EventKind};
use crate::management::{KeyFilter, KeyWish};
use crate::money::Money;
use crate::random::{Rng, hash};
use crate::world::World;

/// Keys on one page of the list.
const PAGE: usize = 100;

impl World {
    /// The account that a management key manages.
    pub(crate) fn managed_by(&self, key: usize) -> Result<usize, Fault> {
        let key = &self.keys[key];
        if !key.management {
            return Err(Fault::management_only());
        }
        Ok(key.account)
    }

    /// The body of `GET /keys`: the newest first.
    pub(crate) fn list_keys(&self, account: usize, filter: &KeyFilter<'_>) -> Value {
        let now = self.clock.now();
        let default_workspace = self.default_workspace(account);
        let wanted = filter.workspace.unwrap_or(&default_workspace);
        let shown = (0..self.keys.len()).rev().filter(|index| {
            let key = &self.keys[*index];
            key.account == account
                && !key.management
                && !key.revoked
                && (filter.disabled || !key.disabled)
                && (filter.expired || key.expires_at.is_none_or(|at| now < at))
                && key.workspace.as_deref().unwrap_or(&default_workspace) == wanted
        });
        let page: Vec<Value> = shown
            .skip(filter.offset)
            .take(PAGE)
            .map(|index| self.key_record(index))
            .collect();
        json!({ "data": page })
    }

    /// The body of `POST /keys`, with the only sight of the secret.
    pub(crate) fn create_key(&mut self, account: usize, manager: usize, wish: KeyWish) -> Value {
        let secret = loop {
            let secret = minted(&mut self.mint);
            if !self.by_secret.contains_key(&secret) {
                break secret;
            }
        };
        let name = wish.name.unwrap_or_default();
        let mut key = Key::new(secret.as_str()).label(self.free_label(&name));
        key.limit = wish.limit.flatten();
        key.limit_reset = wish.limit_reset.flatten();
        let expires_at = wish.expires_at.flatten();
        key.expires_at = expires_at.map(|at| self.clock.heard(at));
        key.disabled = wish.disabled.unwrap_or(false);
        key.member = Some(
            wish.creator
                .unwrap_or_else(|| self.keys[manager].member.clone()),
        );
        let default_workspace = self.default_workspace(account);
        key.workspace = wish.workspace.filter(|id| *id != default_workspace);
        let index = self.keys.len();
        self.add_key(key, account);
        let state = &mut self.keys[index];
        state.name = name;
        state.include_byok = wish.include_byok.unwrap_or(false);
        self.say(index, "created");
        json!({"data": self.key_record(index), "key": secret})
    }

    /// The body of `GET /keys/{hash}`.
    pub(crate) fn read_key(&self, account: usize, hash: &str) -> Result<Value, Fault> {
        let index = self.by_hash(account, hash)?;
        Ok(json!({ "data": self.key_record(index) }))
    }

    /// The body of `PATCH /keys/{hash}`. Owner, workspace and expiry stay as they were made.
    pub(crate) fn patch_key(
        &mut self,
        account: usize,
        hash: &str,
        wish: KeyWish,
    ) -> Result<Value, Fault> {
        let index = self.by_hash(account, hash)?;
        let now = self.clock.now();
        let key = &mut self.keys[index];
        if let Some(name) = wish.name {
            key.name = name;
        }
        key.disabled = wish.disabled.unwrap_or(key.disabled);
        key.limit = wish.limit.unwrap_or(key.limit);
        key.limit_reset = wish.limit_reset.unwrap_or(key.limit_reset);
        key.include_byok = wish.include_byok.unwrap_or(key.include_byok);
        key.updated_at = Some(now);
        self.say(index, "changed");
        Ok(json!({ "data": self.key_record(index) }))
    }

    /// From here on the key is refused with 401.
    pub(crate) fn delete_key(&mut self, account: usize, hash: &str) -> Result<(), Fault> {
        let index = self.by_hash(account, hash)?;
        self.keys[index].revoked = true;
        self.say(index, "deleted");
        Ok(())
    }

    fn by_hash(&self, account: usize, hash: &str) -> Result<usize, Fault> {
        let found = self.keys.iter().position(|key| {
            key.account == account && !key.management && !key.revoked && key.hash == hash
        });
        found.ok_or_else(|| Fault::not_found("API key not found"))
    }

    /// A key as lists show it.
    fn key_record(&self, index: usize) -> Value {
        let now = self.clock.now();
        let key = &self.keys[index];
        let spent = |reset| key.spend.since(reset, now).usd();
        let remaining = key.limit_remaining(now);
        json!({
            "hash": key.hash,
            "name": key.name,
            "label": key.masked,
            "disabled": key.disabled,
            "limit": key.limit.map(Money::usd),
            "limit_remaining": remaining.map(Money::usd),
            "limit_reset": key.limit_reset.map(Reset::as_str),
            "include_byok_in_limit": key.include_byok,
            "usage": spent(None),
            "usage_daily": spent(Some(Reset::Daily)),
            "usage_weekly": spent(Some(Reset::Weekly)),
            "usage_monthly": spent(Some(Reset::Monthly)),
            "byok_usage": 0,
            "byok_usage_daily": 0,
            "byok_usage_weekly": 0,
            "byok_usage_monthly": 0,
            "created_at": key.created_at.to_string(),
            "updated_at": key.updated_at.map(|at| at.to_string()),
            "expires_at": key.expires_at.map(|at| self.clock.told(at).to_string()),
            "creator_user_id": key.member,
            "workspace_id": key.workspace.clone()
                .unwrap_or_else(|| self.default_workspace(key.account)),
        })
    }

    /// The workspace of keys that are in none of their own.
    fn default_workspace(&self, account: usize) -> String {
        format!("workspace_{}", self.accounts[account].id)
    }

    /// The name, with a number behind it where it is taken.
    fn free_label(&self, name: &str) -> String {
        if !self.by_label.contains_key(name) {
            return name.to_owned();
        }
        let numbered = (2..).map(|number: u64| format!("{name}-{number}"));
        let mut free = numbered.filter(|label| !self.by_label.contains_key(label));
        free.next().unwrap_or_default()
    }

    fn say(&self, index: usize, verb: &str) {
        let what = format!("key {} {verb}", self.keys[index].who.key);
        let kind = EventKind::Changed { what };
        self.log.push(Entry::of_the_world(self.clock.now(), kind));
    }
}

/// A secret of the usual shape: 64 digits of base 16.
fn minted(rng: &mut Rng) -> String {
    let words: [u64; 4] = std::array::from_fn(|_| rng.next());
    let [a, b, c, d] = words;
    format!("sk-or-v1-{a:016x}{b:016x}{c:016x}{d:016x}")
}

/// What administration calls a key: 64 digits that follow from its secret. Unlike OpenRouter's,
/// whoever has it could find the secret with some work: secrets of a mock are worth nothing.
pub(crate) fn key_hash(secret: &str) -> String {
    let mut rng = Rng::new(&[0x6b65_7920_6861_7368, hash(secret.as_bytes())]);
    let words: [u64; 4] = std::array::from_fn(|_| rng.next());
    let [a, b, c, d] = words;
    format!("{a:016x}{b:016x}{c:016x}{d:016x}")
}
