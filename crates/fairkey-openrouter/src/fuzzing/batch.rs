//! The body of the target `batch`.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::check;
use crate::batch::{
    Batch, BatchBuilder, BatchEndpoint, BatchRequest, BatchResult, BatchStatus, path_of,
};

/// A batch as its receiver reads it; bodies may hold escapes that are no text.
#[derive(Deserialize)]
struct Read<'a> {
    endpoint: String,
    model: String,
    #[serde(borrow)]
    requests: Vec<ReadRequest<'a>>,
}

#[derive(Deserialize)]
struct ReadRequest<'a> {
    custom_id: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Reading a batch is total: its name is fit for a path, its results are parts of what came, and
/// errors show no key. A body that a batch takes gives a text that reads as a batch should.
pub fn batch(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    match Batch::read(StatusCode::OK, &HeaderMap::new(), &body) {
        Ok(batch) => look(&batch, input),
        Err(fault) => check(&fault),
    }
    for endpoint in BatchEndpoint::ALL {
        let Ok(request) = BatchRequest::new(endpoint.path(), body.clone(), Some("a/b")) else {
            continue;
        };
        let mut builder = BatchBuilder::new(request.kind().clone());
        assert_eq!(builder.push("x", &request), Ok(()));
        assert!(builder.push("x", &request).is_err(), "a name is taken once");
        assert_eq!(builder.push("y\"", &request), Ok(()));
        let bytes = builder.bytes();
        let text = builder.finish();
        assert_eq!(text.len(), bytes);
        let read: Read<'_> =
            serde_json::from_slice(&text).unwrap_or_else(|error| unreachable!("{error}"));
        assert_eq!(read.endpoint, endpoint.as_str());
        assert_eq!(read.model, **request.kind().model());
        let ids: Vec<&str> = read.requests.iter().map(|it| &*it.custom_id).collect();
        assert_eq!(ids, ["x", "y\""]);
        let bodies = read.requests.iter().map(|it| it.body.get().as_bytes());
        bodies.for_each(|body| assert_eq!(body, input.trim_ascii()));
    }
}

fn look(batch: &Batch, input: &[u8]) {
    assert!(path_of(&batch.id).is_some(), "fit for a path");
    assert_eq!(BatchStatus::from(batch.status.as_str()), batch.status);
    let Ok(results) = batch.results() else { return };
    let (said, mut read) = (results.len(), 0);
    for result in results {
        read += 1;
        match result {
            Ok(BatchResult {
                answer: Ok(answer), ..
            }) => {
                assert!(answer.body.len() < input.len());
                for endpoint in BatchEndpoint::ALL {
                    let _ = answer.usage(endpoint);
                }
            }
            Ok(BatchResult {
                answer: Err(fault), ..
            })
            | Err(fault) => check(&fault),
        }
    }
    assert_eq!(read, said);
}
