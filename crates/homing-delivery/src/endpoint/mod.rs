//! Endpoints: the one module that calls customers.
//!
//! [`Endpoints::attempt`] makes one HTTP request for a delivery and reports what the endpoint did.
//! It guarantees:
//!
//! - an end at `endpoint.deadline`, or that of the subscription, whatever the endpoint does; through
//!   a proxy that does not answer, up to half of `endpoint.connect_deadline` later;
//! - at most `endpoint.max_response_bytes` bytes of its response in memory;
//! - one request, never redirected, and resent at once only if the endpoint provably did not
//!   process it, if a reused connection ended before its answer began, or, once, with another OAuth
//!   2.0 token if it did not accept the first (401);
//! - no connection to an address that may not be called, however it is spelled or resolved, nor to
//!   a URL that `policy` refuses;
//! - no outcome without the endpoint's action: what *homing* cannot do is a [`RequestError`];
//! - an answer with a readable status counts by it, whatever its other lines are.
//!
//! It does not retry, limit rates, count or log: its callers (the worker, and the command that
//! tests a subscription) do that.
//!
//! `address` decides which addresses may be called, `resolve` enforces it and `dns` looks names up,
//! within `places`. `request` builds, with the event in its `form` (and `rehearse` does so before there is one), `client`
//! sends, over a `connection` that `dial` opens and `pool` keeps (`reuse` has the rules), and resends
//! where `resend` allows it; `identities` has a client for each client certificate, `oauth2` a token
//! for each authorization server's client, `proxy` the way through a proxy. `reading` reads the answer,
//! `classify` makes it what was `attempted`, `describe` describes errors. `consent` asks an
//! endpoint whether it wants to be called. `payload` makes what is kept of an
//! attempt, without `secrets`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, body::Body as _};
use ipnet::IpNet;
use tokio::time::Instant;

use crate::settings::EndpointSettings;
use homing_domain::{
    delivery::Delivery,
    outcome::{Obstacle, Outcome, Phase},
    subscription::{Authentication, Subscription, certificate_expiry},
    time::UnixMillis,
};
use homing_store::Store;

mod address;
mod attempted;
mod resend;
mod classify;
mod client;
mod collector;
mod connection;
mod consent;
mod dial;
mod dns;
mod error;
mod first_bytes;
mod form;
mod identities;
mod management;
mod oauth2;
mod payload;
mod places;
mod policy;
mod pool;
mod proxy;
mod reading;
mod recent;
mod rehearse;
mod request;
mod resolve;
mod reuse;
mod secrets;
mod sweeping;
mod tls;
mod describe;

#[cfg(test)]
mod tests;

use client::{Client, SendError};
use dns::Dns;
use identities::Identities;
use oauth2::{Token, Tokens};
use policy::Permitted;
use pool::Host;
use proxy::Proxy;
use secrets::Secrets;
use tls::common_identity;

pub use address::{allowed, literal};
pub use attempted::Attempted;
pub use classify::retry_after;
pub use collector::{Collector, CollectorError};
pub use consent::Answer as ConsentAnswer;
pub use error::RequestError;
pub use management::{Management, ManagementError, Policed};
pub use oauth2::TokenError;
pub use payload::PayloadRule;
pub use policy::{NotCalled, Policy};
pub use proxy::ProxyProblem;
pub use rehearse::rehearse;
pub use tls::{EndpointSetupError, tls};

/// Calls endpoints. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Endpoints {
    /// Presents no certificate, or that of the settings.
    client: Client,
    identities: Arc<Identities>,
    tokens: Arc<Tokens>,
    token_wait: Duration,
    permitted: Permitted,
    deadline: Duration,
    connect_deadline: Duration,
    max_response_bytes: usize,
    max_message_bytes: usize,
    /// The attribute `source` of CloudEvents.
    source: Arc<str>,
    delivery_control: bool,
    /// The name by which it introduces itself to endpoints that are asked for their consent.
    origin: Arc<str>,
    payloads: PayloadRule,
    certificate_expires: Option<UnixMillis>,
}

/// A request: everything that it is built from.
#[derive(Clone, Copy)]
struct Sent<'a> {
    delivery: &'a Delivery,
    subscription: &'a Subscription,
    now: UnixMillis,
    token: Option<&'a Token>,
    /// The attribute `source` of CloudEvents.
    source: &'a str,
    purpose: Purpose<'a>,
}

/// The purpose of a request.
#[derive(Clone, Copy)]
enum Purpose<'a> {
    Delivery,
    /// It asks whether deliveries from this origin are wanted.
    Handshake(&'a str),
    /// It asks for the text in its body, which is sent as it is, whatever the form of events.
    Challenge,
}

/// Where a connection came from, and goes back to.
#[derive(Clone, Copy)]
struct Origin<'a> {
    client: &'a Client,
    host: &'a Host,
}

impl Endpoints {
    /// Endpoints that are called as `settings` say.
    ///
    /// # Errors
    ///
    /// [`EndpointSetupError`]; it names the setting at fault.
    pub fn new(settings: &EndpointSettings) -> Result<Self, EndpointSetupError> {
        let networks: Arc<[IpNet]> =
            settings.networks().map_err(EndpointSetupError::Settings)?.into();
        let resolver = resolve::Resolver::new(Arc::clone(&networks), names(settings)?);
        let permitted = Permitted::new(settings, networks)?;
        let proxy = Proxy::of(settings, &resolver)?;
        let client = Client::new(settings, resolver, proxy)?;
        let common = common_identity(settings)?;
        let certificate = common.as_ref().and_then(|identity| identity.cert.first());
        let certificate_expires = certificate.and_then(|it| certificate_expiry(it));
        let identities = Identities::new(client.clone());
        let client = common.map_or_else(|| client.clone(), |identity| client.as_identity(identity));
        Ok(Self {
            certificate_expires,
            identities,
            tokens: Tokens::new(client.clone(), permitted.clone(), None),
            token_wait: settings.deadline,
            client,
            permitted,
            deadline: settings.deadline,
            connect_deadline: settings.connect_deadline,
            max_response_bytes: settings.max_response_bytes,
            max_message_bytes: usize::MAX,
            source: settings.cloudevents_source.as_str().into(),
            delivery_control: settings.delivery_control,
            origin: settings.origin.as_str().into(),
            payloads: PayloadRule::default(),
        })
    }

    /// The expiry of the client certificate of the settings; `None`: there is none.
    #[must_use]
    pub fn certificate_expires(&self) -> Option<UnixMillis> {
        self.certificate_expires
    }

    /// True if endpoints are called through a proxy, some of them at least.
    #[must_use]
    pub fn has_proxy(&self) -> bool {
        self.client.proxy().is_some()
    }

    /// The failure of the proxy, while there is one, as far as these requests have shown it.
    #[must_use]
    pub fn proxy_problem(&self) -> Option<ProxyProblem> {
        self.client.proxy()?.problem()
    }

    /// The same, with payloads of attempts in their results.
    #[must_use]
    pub fn with_payloads(self, rule: PayloadRule) -> Self {
        Self { payloads: rule, ..self }
    }

    /// The same, with a limit of the bytes of messages in Workfront's form.
    #[must_use]
    pub fn with_max_message(self, max: usize) -> Self {
        Self { max_message_bytes: max, ..self }
    }

    /// The same, with OAuth 2.0 tokens that all processes share through `store`.
    #[must_use]
    pub fn with_token_store(self, store: Arc<dyn Store>) -> Self {
        let permitted = self.permitted.clone();
        Self { tokens: Tokens::new(self.client.clone(), permitted, Some(store)), ..self }
    }

    /// The same that waits for an OAuth 2.0 token for `wait` at most, instead of a deadline: callers
    /// that have many deliveries at a time put them back meanwhile.
    #[must_use]
    pub fn with_token_wait(self, wait: Duration) -> Self {
        Self { token_wait: wait, ..self }
    }

    /// Makes the next attempt of `delivery` to `subscription`. `now` is signed, and the base of
    /// `Retry-After`.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the endpoint received nothing, or the proxy failed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it abandons the request: closes its connection, or its HTTP/2 stream. The endpoint
    /// may have taken the event by then, so the caller must keep the delivery and expect a
    /// duplicate.
    pub async fn attempt(
        &self,
        delivery: &Delivery,
        subscription: &Subscription,
        now: UnixMillis,
    ) -> Result<Attempted, RequestError> {
        self.send(Sent {
            delivery,
            subscription,
            now,
            token: None,
            source: &self.source,
            purpose: Purpose::Delivery,
        })
        .await
    }

    /// Sends a request, and reads what the endpoint does.
    async fn send(&self, sent: Sent<'_>) -> Result<Attempted, RequestError> {
        let subscription = sent.subscription;
        if let Some(refused) = self.permitted.refusal(&subscription.spec.url) {
            let kind = Obstacle::AddressNotAllowed;
            let attempted = Attempted::silent(Outcome::Unreachable { kind }, refused.as_ref());
            return Ok(self.unanswered(attempted, &sent));
        }
        if subscription.spec.authentication.as_ref().is_some_and(|it| it.oauth2().is_some()) {
            return Box::pin(self.attempt_with_token(sent)).await;
        }
        self.exchange(&sent, self.deadline(subscription)).await
    }

    /// As [`attempt`](Self::attempt), with an OAuth 2.0 token. An endpoint that does not accept it is
    /// sent another one at once, if there is one.
    async fn attempt_with_token(&self, sent: Sent<'_>) -> Result<Attempted, RequestError> {
        let authentication = sent.subscription.spec.authentication.as_ref();
        let Some(credentials) = authentication.and_then(Authentication::oauth2) else {
            return self.exchange(&sent, self.deadline(sent.subscription)).await;
        };
        let token = self.tokens.get(credentials, self.token_wait).await;
        let token = token.map_err(RequestError::Token)?;
        let deadline = self.deadline(sent.subscription);
        let attempted = self.exchange(&Sent { token: Some(&*token), ..sent }, deadline).await?;
        if attempted.status != Some(StatusCode::UNAUTHORIZED.as_u16()) {
            return Ok(attempted);
        }
        let until = deadline.min(Instant::now() + self.token_wait);
        match self.tokens.renewed(credentials, &token, until).await {
            Some(token) => self.exchange(&Sent { token: Some(&*token), ..sent }, deadline).await,
            None => Ok(attempted),
        }
    }

    /// The end of an exchange that begins now.
    fn deadline(&self, subscription: &Subscription) -> Instant {
        let own = subscription.spec.deadline.map(|own| own.max(self.connect_deadline));
        Instant::now() + own.unwrap_or(self.deadline)
    }

    /// Sends the request, and reads the answer, until `deadline`. It is one for the exchange as a
    /// whole: an endpoint that sends a byte a second holds its permit no longer than one that sends
    /// none.
    async fn exchange(
        &self,
        sent: &Sent<'_>,
        deadline: Instant,
    ) -> Result<Attempted, RequestError> {
        let build = || self.build(sent);
        let certificate = sent.subscription.spec.client_certificate.as_ref();
        let own = certificate.map(|certificate| self.identities.client(certificate)).transpose();
        let own = own.map_err(RequestError::Certificate)?;
        let client = own.as_ref().unwrap_or(&self.client);
        let attempted = match client.send(build, deadline).await? {
            Ok((answer, host)) => {
                let origin = Origin { client, host: &host };
                return Ok(self.read_response(answer, origin, deadline, sent).await);
            }
            Err(SendError::Connect(error)) => Attempted::failed(error.into()),
            Err(SendError::ConnectTimeout(elapsed)) => {
                Ok(Attempted::silent(Outcome::TimedOut { phase: Phase::Connect }, &elapsed))
            }
            Err(SendError::Timeout(elapsed)) => {
                Ok(Attempted::silent(Outcome::TimedOut { phase: Phase::Headers }, &elapsed))
            }
            Err(SendError::Failed(failed)) => Attempted::unread(*failed, sent.now),
        };
        Ok(self.unanswered(attempted?, sent))
    }

    fn build(&self, sent: &Sent<'_>) -> Result<Request<Full<Bytes>>, RequestError> {
        let request = request::build(sent)?;
        let bytes = request.body().size_hint().exact().unwrap_or_default();
        let (bytes, max) = (usize::try_from(bytes).unwrap_or(usize::MAX), self.max_message_bytes);
        if bytes > max && sent.subscription.spec.workfront.is_some() {
            return Err(RequestError::TooLarge { bytes, max });
        }
        Ok(request)
    }

    /// Adds the payload of an attempt without an answer, if it is to be kept.
    fn unanswered(&self, attempted: Attempted, sent: &Sent<'_>) -> Attempted {
        if !self.payloads.keeps(attempted.outcome.is_accepted()) {
            return attempted;
        }
        let payload =
            self.payloads.payload(sent, &Secrets::of(sent.subscription, sent.token), None);
        Attempted { payload: payload.map(Arc::new), ..attempted }
    }
}

/// The resolver of names for `settings`.
fn names(settings: &EndpointSettings) -> Result<Dns, EndpointSetupError> {
    let servers = settings.name_servers().map_err(EndpointSetupError::Settings)?;
    Ok(Dns::new(servers, settings.connect_deadline))
}
