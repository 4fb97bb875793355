//! Administration: by a management key, or not at all.

use std::sync::Arc;

use fairkey_transport::Body;
use http::Response;
use hyper::body::Incoming;

use super::{Inbound, read, respond};
use crate::gateway::Shared;
use crate::relay::{Outbound, Plain};
use crate::{Failure, Reason};

/// Passes an administrative call on with the management key, where there is one. A key of the pool
/// never serves it.
pub(super) async fn manage(
    shared: &Arc<Shared>,
    inbound: &Inbound,
    body: Incoming,
) -> Result<Response<Outbound>, Failure> {
    let Some(key) = &inbound.settings.management_key else {
        let message = format!(
            "{} administers an account, which this gateway is not configured for; ask OpenRouter \
             itself, with a management key",
            inbound.endpoint.target.path()
        );
        return Err(Failure::new(Reason::AdministrationRefused, message));
    };
    // Whose routes nobody has named may do what costs, not what changes keys.
    if !shared.tenants().is_open() && inbound.tenant.config().routes.is_any() {
        let message = format!(
            "client \"{}\" may not administer: that has to be among its routes by name, as \
             \"administration\"",
            inbound.tenant.id()
        );
        return Err(Failure::new(Reason::AdministrationRefused, message));
    }
    let permit = inbound.visit(shared)?;
    let body = read(&inbound.settings, body).await?;
    let request = inbound.upstream(shared, Body::full(body))?;
    let sent = shared.client.send_with(key, request).await;
    let sent = sent.map_err(|error| Failure::of_call(&error))?;
    let (parts, body) = sent.into_parts();
    let body = Plain::new(body, permit, inbound.report.clone());
    let body = Outbound::Plain(Box::new(body));
    Ok(respond(parts.status, parts.headers, body))
}
