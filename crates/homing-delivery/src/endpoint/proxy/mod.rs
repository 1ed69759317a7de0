//! The way to endpoints through a proxy (`endpoint.proxy`).
//!
//! A connection to an endpoint is a tunnel through the proxy, for `http://` as for `https://`:
//! where the proxy itself sent the requests on, its answers would look like the endpoint's.
//! TLS to the endpoint is within the tunnel, so the proxy sees host and port, and nothing else.
//!
//! Promises:
//!
//! - The proxy is asked only for addresses that may be called (`endpoint.allow_networks`). With
//!   `endpoint.proxy_dns = "proxy"`, it is asked for names, and which addresses these have is its
//!   matter; addresses in URLs and `localhost` are checked all the same.
//! - A failure of the proxy is never the endpoint's ([`error`] has the table). Silence is the
//!   endpoint's only if the proxy answers another request for a connection meanwhile.
//! - Each step has a deadline, and all of them end before `endpoint.connect_deadline`.

mod error;
mod health;
mod http;
mod socks;
mod wire;

use std::{fmt, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{Uri, header::HeaderValue};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{legacy::connect::HttpConnector, proxy::matcher::Matcher},
    rt::TokioIo,
};
use ipnet::IpNet;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;

use super::{
    address::{allowed, literal_host},
    classify::is_exhausted,
    client::BoxError,
    dial::tcp,
    names,
    resolve::{ResolveError, Resolver},
    tls::{EndpointSetupError, tls},
};
use crate::settings::{EndpointSettings, ProxyDns, ProxyScheme, ProxyUrl};
use homing_domain::settings::SettingsError;

use health::Health;

pub(super) use error::ProxyError;
pub use health::ProxyProblem;
pub(super) use wire::{Stream, Wire};

/// A host for which a proxy that works has an answer at once, whatever its network is: its own port
/// 9, on which nothing listens. Source: RFC 863.
const ITSELF: Target =
    Target::Address(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9));

/// Addresses of one name that the proxy is asked for.
const MAX_ADDRESSES: usize = 4;

/// A proxy.
pub(super) struct Proxy {
    url: ProxyUrl,
    /// `host:port`
    authority: String,
    connector: HttpsConnector<HttpConnector<Resolver>>,
    /// The login of an HTTP proxy.
    basic: Option<HeaderValue>,
    /// Finds the hosts that are called without it.
    direct: Matcher,
    /// Looks up the names of endpoints; `None`: the proxy does.
    names: Option<Resolver>,
    networks: Arc<[IpNet]>,
    connect_deadline: Duration,
    health: Health,
    /// The last check that it answers: its start and its result.
    checked: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// The host that a proxy is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Address(SocketAddr),
    Name(String, u16),
}

impl Target {
    fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl Proxy {
    /// The proxy of `settings`; `None`: there is none. `resolver` looks up the names of endpoints.
    ///
    /// # Errors
    ///
    /// [`EndpointSetupError`].
    pub(super) fn of(
        settings: &EndpointSettings,
        resolver: &Resolver,
    ) -> Result<Option<Arc<Self>>, EndpointSetupError> {
        let found = settings.proxy().map_err(EndpointSetupError::Settings)?;
        let Some(mut url) = found else { return Ok(None) };
        if !settings.proxy_login_file.is_empty() {
            url.login = Some(login(&settings.proxy_login_file)?);
            url.check_login(LOGIN_FILE).map_err(EndpointSetupError::ProxyLogin)?;
        }
        let mut tcp = tcp(Resolver::anywhere(names(settings)?));
        tcp.set_connect_timeout(Some(settings.connect_deadline / 4));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings, &[])?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let networks = settings.networks().map_err(EndpointSetupError::Settings)?;
        let is_looked_up = settings.proxy_dns == ProxyDns::Homing;
        Ok(Some(Arc::new(Self {
            authority: format!("{}:{}", url.host, url.port),
            basic: basic(&url),
            url,
            connector,
            // It matches by itself; the URL is not used.
            direct: Matcher::builder().all("http://proxy").no(settings.no_proxy.join(",")).build(),
            names: is_looked_up.then(|| resolver.clone()),
            networks: networks.into(),
            connect_deadline: settings.connect_deadline,
            health: Health::default(),
            checked: tokio::sync::Mutex::default(),
        })))
    }

    /// True if the host of `uri` is called through it.
    pub(super) fn serves(&self, uri: &Uri) -> bool {
        // A name with the dot of the root is the same without.
        let Some(name) = uri.host().and_then(|host| host.strip_suffix('.')) else {
            return self.direct.intercept(uri).is_some();
        };
        let bare = Uri::builder().scheme("http").authority(name).path_and_query("/").build();
        bare.map_or(true, |bare| self.direct.intercept(&bare).is_some())
    }

    /// The present failure of the proxy; `None`: it answers, as far as known.
    pub(super) fn problem(&self) -> Option<ProxyProblem> {
        self.health.problem()
    }

    /// Connects to the host of `uri`.
    ///
    /// # Errors
    ///
    /// [`ProxyError`] or [`ResolveError`], boxed; or that this process has no descriptors left.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection to the proxy.
    pub(super) async fn connect(&self, uri: Uri) -> Result<Wire, BoxError> {
        let until = Instant::now() + self.connect_deadline * 5 / 8;
        let found = async { self.targets(&uri).await.map_err(BoxError::from) };
        let (targets, stream) = if self.problem().is_some() {
            // One request a second asks it then: none that has nothing to ask for.
            (found.await?, self.reach().await?)
        } else {
            tokio::try_join!(found, self.reach())?
        };
        let (mut ready, mut failed) = (Some(stream), None);
        for target in targets.iter().take(MAX_ADDRESSES) {
            let stream = match ready.take() {
                Some(stream) => stream,
                None => self.reach().await?,
            };
            match self.ask(stream, target, until).await {
                Ok(stream) => return Ok(stream.into()),
                Err(error) if error.is_of_address() && Instant::now() < until => {
                    failed = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(failed.map_or_else(|| ResolveError::Nothing.into(), BoxError::from))
    }

    /// The hosts to ask for, one after the other: checked addresses, or one name.
    async fn targets(&self, uri: &Uri) -> Result<Vec<Target>, ResolveError> {
        let host = uri.host().unwrap_or_default();
        let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(default);
        let at = |address| Target::Address(SocketAddr::new(address, port));
        if let Some(address) = literal_host(host) {
            // It was checked before; where it comes from does not matter here.
            let is_allowed = allowed(address, &self.networks);
            return is_allowed.then(|| vec![at(address)]).ok_or(ResolveError::NotAllowed(address));
        }
        if let Some(names) = &self.names {
            return Ok(names.look_up(host).await?.into_iter().map(at).collect());
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_local = name == "localhost" || name.ends_with(".localhost");
        let loopback = std::net::Ipv4Addr::LOCALHOST.into();
        if is_local && !allowed(loopback, &self.networks) {
            return Err(ResolveError::NotAllowed(loopback));
        }
        Ok(vec![Target::Name(name.to_owned(), port)])
    }

    /// Connects to the proxy itself; SOCKS proxies are greeted as well.
    async fn reach(&self) -> Result<Stream, BoxError> {
        self.health.admit()?;
        let reached = timeout(self.connect_deadline / 4, self.connection()).await;
        let error = match reached {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if is_exhausted(error.as_ref()) => return Err(error),
            Ok(Err(error)) => match error.downcast::<ProxyError>() {
                Ok(error) => *error,
                Err(error) => ProxyError::Unreachable(error),
            },
            Err(_elapsed) => ProxyError::Silent,
        };
        self.health.failed(&error);
        Err(error.into())
    }

    async fn connection(&self) -> Result<Stream, BoxError> {
        let scheme = if self.url.scheme == ProxyScheme::Https { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(self.authority.as_str());
        let stream = self.connector.clone().call(uri.path_and_query("/").build()?).await?;
        if self.url.scheme != ProxyScheme::Socks5 {
            return Ok(stream);
        }
        let mut stream = TokioIo::new(stream);
        socks::greet(&mut stream, self.url.login.as_ref()).await?;
        Ok(stream.into_inner())
    }

    async fn ask(
        &self,
        stream: Stream,
        target: &Target,
        until: Instant,
    ) -> Result<Stream, ProxyError> {
        let Ok(asked) = timeout_at(until, self.tunnel(stream, target)).await else {
            let is_alive = self.is_alive().await;
            return Err(if is_alive { ProxyError::target_timed_out() } else { ProxyError::Silent });
        };
        match &asked {
            Err(error) if error.concerns_all() => self.health.failed(error),
            // An end without an answer proves nothing.
            Err(ProxyError::Failed(_)) => {}
            Ok(_) | Err(_) => self.health.answers(),
        }
        asked
    }

    async fn tunnel(&self, stream: Stream, target: &Target) -> Result<Stream, ProxyError> {
        if self.url.scheme != ProxyScheme::Socks5 {
            return http::ask(stream, target, self.basic.as_ref()).await;
        }
        let mut stream = TokioIo::new(stream);
        socks::ask(&mut stream, target).await?;
        Ok(stream.into_inner())
    }

    /// Checks that the proxy answers a request of the kind that gets no answer, if none did since this
    /// was called: one that is overloaded may answer others.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn is_alive(&self) -> bool {
        let asked = Instant::now();
        let mut checked = self.checked.lock().await;
        if let Some((_, is_alive)) = checked.filter(|(started, _)| *started >= asked) {
            return is_alive;
        }
        let started = Instant::now();
        let is_alive = self.check().await;
        *checked = Some((started, is_alive));
        is_alive
    }

    async fn check(&self) -> bool {
        let answer = async {
            let stream = self.reach().await?;
            if self.url.scheme != ProxyScheme::Socks5 {
                let checked = http::check(stream, &ITSELF, self.basic.as_ref()).await;
                return checked.map_err(BoxError::from);
            }
            match socks::ask(&mut TokioIo::new(stream), &ITSELF).await {
                Err(error @ (ProxyError::Failed(_) | ProxyError::Protocol(_))) => Err(error.into()),
                Ok(()) | Err(_) => Ok(()),
            }
        };
        match timeout(self.connect_deadline / 4, answer).await {
            Ok(Ok(())) => {
                self.health.answers();
                true
            }
            // This process lacks something; nothing is known of the proxy.
            Ok(Err(error)) => is_exhausted(error.as_ref()),
            Err(_elapsed) => {
                self.health.failed(&ProxyError::Silent);
                false
            }
        }
    }
}

const LOGIN_FILE: &str = "endpoint.proxy_login_file";

/// The login in a file, `USER:PASSWORD`.
fn login(file: &str) -> Result<(String, String), EndpointSetupError> {
    let wrong =
        |message: String| EndpointSetupError::ProxyLogin(SettingsError::value(LOGIN_FILE, message));
    let text = homing_files::read_text(Path::new(file));
    let text = text.map_err(|error| wrong(format!("cannot read {file}: {error}")))?;
    let line = text.trim_end_matches(['\r', '\n']);
    let (user, password) = line
        .split_once(':')
        .ok_or_else(|| wrong(format!("{file} has no colon; it takes USER:PASSWORD")))?;
    Ok((user.to_owned(), password.to_owned()))
}

/// The login of an HTTP proxy as it is sent. Source: RFC 7617, 2.
fn basic(url: &ProxyUrl) -> Option<HeaderValue> {
    let (user, password) = url.login.as_ref()?;
    let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
