//! What goes on beside a run: rows are submitted, batches are looked at.

use std::collections::HashMap;
use std::sync::Arc;

use fairkey_openrouter::batch::{BatchKind, BatchRequest};
use fairkey_openrouter::profile::Profiles;

use super::done::DoneRows;
use super::shared::{self, Shared};
use super::submit::{Draft, Submitting};
use super::upstream::BatchUpstream;
use crate::row::Request;
use crate::source::Source;
use crate::stop::Stop;

pub(super) struct Driver<U> {
    pub(super) shared: Arc<Shared>,
    pub(super) profiles: Profiles,
    pub(super) upstream: U,
    pub(super) stop: Stop,
}

/// Makes the request that a batch takes of a row, or says why there is none.
pub(super) fn prepare(profiles: &Profiles, request: &Request) -> Result<BatchRequest, String> {
    let routed = if profiles.is_empty() {
        None
    } else {
        let routed = profiles.apply(&request.path, &request.body);
        routed.map_err(|error| error.to_string())?
    };
    let (body, model) = match routed {
        Some(routed) => (routed.body, routed.models.into_iter().next()),
        None => (request.body.clone(), None),
    };
    let model = model.as_deref().or(request.model.as_deref());
    BatchRequest::new(&request.path, body, model).map_err(|why| why.to_string())
}

impl<U: BatchUpstream> Driver<U> {
    /// Submits what is to be submitted, and looks at batches until each has ended.
    pub(super) async fn drive<S: Source>(self, source: S, done: DoneRows) {
        let _over = Over(Arc::clone(&self.shared));
        let submit = async {
            let why = self.submit_all(source, &done).await.err();
            self.shared.all_placed(why);
        };
        tokio::join!(submit, self.look_after());
    }

    async fn submit_all<S: Source>(&self, mut source: S, done: &DoneRows) -> Result<(), String> {
        // Rows that earlier runs have submitted.
        let mut earlier = self.shared.take_earlier();
        let mut submitting = Submitting::new(&self.shared, &self.upstream, &self.stop);
        let mut filling: HashMap<BatchKind, Draft> = HashMap::new();
        let mut bytes = 0;
        let config = &self.shared.config;
        loop {
            let row = tokio::select! {
                biased;
                () = self.stop.stopping() => return Err(INTERRUPTED.to_owned()),
                row = source.next() => row,
            };
            let row = row.map_err(|error| format!("the input cannot be read: {error}"))?;
            let Some(row) = row else { break };
            let Ok(request) = &row.request else { continue };
            if done.contains(row.index) {
                continue;
            }
            let hash = shared::hash(request);
            if let Some(count) = earlier.get_mut(&hash)
                && *count > 0
            {
                *count -= 1;
                continue;
            }
            // The run says why of those that no batch takes.
            let Ok(request) = prepare(&self.profiles, request) else {
                continue;
            };
            let kind = request.kind().clone();
            if let Some(draft) = filling.get(&kind)
                && !draft.has_room(&request, config)
                && let Some(draft) = filling.remove(&kind)
            {
                bytes -= draft.bytes();
                submitting.submit(draft).await?;
            }
            let draft = filling.entry(kind).or_insert_with_key(|kind| {
                let draft = Draft::new(kind);
                bytes += draft.bytes();
                draft
            });
            let before = draft.bytes();
            draft.push(hash, request);
            bytes += draft.bytes() - before;
            if bytes > config.filling_bytes {
                let fullest = filling.iter().max_by_key(|(_, draft)| draft.bytes());
                let fullest = fullest.map(|(kind, _)| kind.clone());
                if let Some(draft) = fullest.and_then(|kind| filling.remove(&kind)) {
                    bytes -= draft.bytes();
                    submitting.submit(draft).await?;
                }
            }
        }
        let mut rest: Vec<Draft> = filling.into_values().collect();
        // Which comes first follows from the input alone.
        rest.sort_by(|a, b| (a.model(), a.endpoint()).cmp(&(b.model(), b.endpoint())));
        for draft in rest {
            submitting.submit(draft).await?;
        }
        Ok(())
    }
}

/// Tells those who wait that nothing more will come, also after a panic.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Why nothing more is submitted when the run was told to end.
pub(super) const INTERRUPTED: &str = "interrupted before it was submitted";
