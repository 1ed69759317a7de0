//! Endpoints: the one folder that calls customers.
//!
//! [`Endpoints::attempt`] makes one HTTP request for a delivery and tells what the endpoint did.
//! It promises:
//!
//! - an end at `endpoint.deadline`, whatever the endpoint does;
//! - at most `endpoint.response_bytes_max` bytes of its response in memory;
//! - one request, never repeated or redirected;
//! - no connection to an address that may not be called, however it is spelled or resolved;
//! - no outcome without the endpoint's doing: what *we* cannot do is a [`RequestError`].
//!
//! It does not retry, limit rates, count or log: whoever calls it (the worker, and the command
//! that tests a subscription) knows more and does that.
//!
//! `address` says which addresses are called, `resolve` holds the client to it, `request` builds (and
//! `rehearse` does so before there is an event),
//! `client` sends, `classify` reads the answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Incoming, http::uri::InvalidUri};
use ipnet::IpNet;
use tokio::time::{Instant, timeout_at};

use crate::config::EndpointSettings;
use crate::domain::{
    delivery::Delivery,
    outcome::{Obstacle, Outcome, Phase},
    subscription::{Subscription, UnfitEvent},
    time::UnixMillis,
};
use crate::report::Chain;

mod address;
mod classify;
mod client;
mod collector;
mod management;
mod rehearse;
mod request;
mod resolve;

#[cfg(test)]
mod tests;

use client::{BoxError, Client};

pub use address::{allowed, literal};
pub use classify::retry_after;
pub use client::{EndpointSetupError, tls};
pub use collector::{Collector, CollectorError};
pub use management::{Management, ManagementError, Policed};
pub use rehearse::rehearse;

/// Calls endpoints. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Endpoints {
    client: Client,
    networks: Arc<[IpNet]>,
    deadline: Duration,
    response_bytes_max: usize,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// What the endpoint did.
    pub outcome: Outcome,
    /// What was read of the response's body, at most `endpoint.response_bytes_max` bytes.
    pub response: Bytes,
    /// Where there was no complete answer: why, in words for people. Bounded, without the URL.
    pub cause: Option<String>,
}

/// Why there was no attempt: our own fault, never the endpoint's.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A header that HTTP cannot carry. It will not get better by itself.
    #[error("header `{name}` cannot be sent: its name or value is not one")]
    Header {
        /// The header's name.
        name: String,
    },
    /// An event that the subscription's form cannot hold. It will not get better by itself.
    #[error("the event cannot be sent in Workfront's form")]
    Unfit(#[source] UnfitEvent),
    /// A URL that HTTP cannot carry. It will not get better by itself.
    #[error("the subscription's URL cannot be called: give it another one")]
    Url(#[source] InvalidUri),
    /// The client does not take this request. It will not get better by itself.
    #[error("the request cannot be sent")]
    Unsendable(#[source] BoxError),
    /// No file descriptors or memory left for a connection. It may get better.
    #[error("this process has no resources left for a connection")]
    Resources(#[source] BoxError),
}

impl Endpoints {
    /// Endpoints as `settings` want them called.
    ///
    /// # Errors
    ///
    /// [`EndpointSetupError`]; it names the setting at fault.
    pub fn new(settings: &EndpointSettings) -> Result<Self, EndpointSetupError> {
        let networks: Arc<[IpNet]> =
            settings.networks().map_err(EndpointSetupError::Settings)?.into();
        let resolver = resolve::Resolver::new(Arc::clone(&networks));
        Ok(Self {
            client: client::build(settings, resolver)?,
            networks,
            deadline: settings.deadline,
            response_bytes_max: settings.response_bytes_max,
        })
    }

    /// Makes the next attempt of `delivery`, which is owed to `subscription`. `now` is signed, and
    /// what `Retry-After` counts from.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the endpoint saw nothing of it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the request is given up: its connection is closed, in HTTP/2 its stream. The
    /// endpoint may have taken the event by then, so whoever drops it must keep the delivery and
    /// expect a duplicate.
    pub async fn attempt(
        &self,
        delivery: &Delivery,
        subscription: &Subscription,
        now: UnixMillis,
    ) -> Result<Attempted, RequestError> {
        if let Some(address) = address::literal(subscription.terms.url.url())
            && !allowed(address, &self.networks)
        {
            let refused = resolve::ResolveError::NotAllowed(address);
            let kind = Obstacle::AddressNotAllowed;
            return Ok(Attempted::silent(Outcome::Unreachable { kind }, &refused));
        }
        let request = request::build(delivery, subscription, now)?;
        self.exchange(request, now).await
    }

    /// One deadline for the exchange as a whole: an endpoint that sends a byte a second holds its
    /// place no longer than one that sends none.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        now: UnixMillis,
    ) -> Result<Attempted, RequestError> {
        let deadline = Instant::now() + self.deadline;
        let response = match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Attempted::failed(error.into()),
            Err(elapsed) => {
                let phase = Phase::Headers;
                return Ok(Attempted::silent(Outcome::TimedOut { phase }, &elapsed));
            }
        };
        let outcome = classify::answer(response.status(), response.headers(), now);

        let mut read = Vec::new();
        let ended = timeout_at(deadline, self.read(response.into_body(), &mut read)).await;
        let attempted = match (ended, outcome.is_accepted()) {
            // A refusal is complete with its head: nothing that follows can turn it into another
            // answer, and what it asks for (`Retry-After`, 410) is heard.
            (Ok(Ok(())), _) | (_, false) => {
                Attempted { outcome, response: Bytes::new(), cause: None }
            }
            (Ok(Err(error)), true) => Attempted::failed(error.into())?,
            (Err(elapsed), true) => {
                Attempted::silent(Outcome::TimedOut { phase: Phase::Body }, &elapsed)
            }
        };
        Ok(Attempted { response: read.into(), ..attempted })
    }

    /// Reads the body up to the bound, copying, so that no buffer of the connection is kept.
    async fn read(&self, mut body: Incoming, read: &mut Vec<u8>) -> hyper::Result<()> {
        while let room @ 1.. = self.response_bytes_max.saturating_sub(read.len()) {
            let Some(frame) = body.frame().await.transpose()? else { break };
            if let Some(chunk) = frame.data_ref() {
                read.extend_from_slice(&chunk.slice(..room.min(chunk.len())));
            }
        }
        Ok(())
    }
}

impl Attempted {
    const CAUSE_CHARS_MAX: usize = 300;

    /// There was no complete answer, because of `cause`.
    fn silent(outcome: Outcome, cause: &(dyn std::error::Error + 'static)) -> Self {
        let cause = Chain(cause).to_string().chars().take(Self::CAUSE_CHARS_MAX).collect();
        Self { outcome, response: Bytes::new(), cause: Some(cause) }
    }

    /// There was no complete answer; `error` tells whether that was the endpoint's doing.
    fn failed(error: BoxError) -> Result<Self, RequestError> {
        let error = classify::theirs(error)?;
        Ok(Self::silent(classify::failure(error.as_ref()), error.as_ref()))
    }
}
