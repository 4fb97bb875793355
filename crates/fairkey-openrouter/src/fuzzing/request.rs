//! Requests of every kind: what is read is written so that it reads the same, checks and routes are
//! total, and repairs stay repaired.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::check::{Level, Severity};
use crate::route::{self, Context};
use crate::{
    ChatRequest, EmbeddingsRequest, MessagesRequest, ModelEndpoints, ModelFilter, ModelList,
    ModelOrder, ProviderList, RerankRequest, ResponsesRequest, splice,
};

/// The whole input is a body of every kind of request, and every list of the catalogue. Split at a
/// zero byte, the first part is a chat request and the second the endpoints of its model.
pub fn request(input: &[u8]) {
    round_trip::<ChatRequest>(input);
    round_trip::<EmbeddingsRequest>(input);
    round_trip::<RerankRequest>(input);
    round_trip::<ResponsesRequest>(input);
    round_trip::<MessagesRequest>(input);
    let providers = ProviderList::from_slice(input).ok();
    if let Ok(models) = ModelList::from_slice(input) {
        let found = ModelFilter::new().search(&models, ModelOrder::Price);
        assert_eq!(found.len(), models.data.len());
    }

    let mut parts = input.splitn(2, |byte| *byte == 0);
    let (chat, rest) = (parts.next().unwrap_or_default(), parts.next());
    let Ok(mut chat) = ChatRequest::from_slice(chat) else {
        return;
    };
    let found = chat.check(Level::Warn).unwrap_or_default();
    let is_refused = chat.check(Level::Strict).is_err();
    let has_error = found.iter().any(|own| own.severity == Severity::Error);
    assert_eq!(is_refused, has_error);
    let shown: String = found.iter().map(ToString::to_string).collect();
    assert!(!shown.contains('\n'), "a finding has several lines");
    let endpoints = rest.and_then(|rest| ModelEndpoints::from_slice(rest).ok());
    if let Some(list) = endpoints {
        let chat = ChatRequest {
            model: Some(list.id.clone()),
            models: None,
            ..chat.clone()
        };
        let plan = route::plan(&chat, std::slice::from_ref(&list), &Context::new());
        assert!(plan.candidates.len() + plan.removed.len() <= list.endpoints.len());
        let odds: f64 = plan.candidates.iter().filter_map(|own| own.odds).sum();
        assert!(odds == 0.0 || (odds - 1.0).abs() < 1e-6, "odds of {odds}");
        let _ = plan.to_string();
    }
    chat.repair(providers.as_ref());
    assert!(
        chat.repair(providers.as_ref()).is_empty(),
        "a repair needs another"
    );
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) {
    let Ok(request) = crate::lenient::object::<T>(input) else {
        return;
    };
    let bytes = serde_json::to_vec(&request).unwrap_or_default();
    let again: Result<T, _> = serde_json::from_slice(&bytes);
    assert_eq!(again.ok().as_ref(), Some(&request), "it reads otherwise");
    assert!(splice::members(&bytes).all(|member| member.is_ok()));
}
