//! The actor of a request, and the services over which it makes its changes.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderName, request::Parts},
};

use super::{
    AppState,
    auth::{Holder, peer},
};
use crate::services::Services;
use homing_domain::audit::{Actor, Via};

/// A client's own id of its request; longer ones are cut.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;

/// The services for a request that changes something: what it changes is on record as its own.
pub(crate) struct Acting(pub(crate) Services);

impl FromRequestParts<AppState> for Acting {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Infallible> {
        let actor = parts.extensions.get().cloned().unwrap_or_default();
        Ok(Self(app.services.by(&actor)))
    }
}

/// Notes who makes a request: the holder of a token, or anyone on this machine.
pub(crate) fn identify(request: &mut Request, via: Via, holder: Option<&Holder>) {
    let name = holder.map_or_else(|| Actor::LOOPBACK.to_owned(), Holder::shown_name);
    let address = peer(request).map(|address| address.to_string());
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let id = id.map(|id| id.chars().take(MAX_REQUEST_ID).collect());
    request.extensions_mut().insert(Actor { via, name, address, request: id });
}
