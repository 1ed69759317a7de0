//! The HTTP client that all attempts share.
//!
//! It does what it is told and nothing else: it follows no redirects, knows no proxies, keeps no
//! cookies, unpacks nothing and repeats nothing. Retrying is the schedule's business.

use std::{
    error::Error,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Uri, rt};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

use tower_service::Service;

use super::resolve::Resolver;
use crate::config::{EndpointSettings, SettingsError};

/// Any error; which one, [`super::classify`] finds out.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// How long an idle connection is kept. Longer would meet more servers that have given it up.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// A connection whose other end is gone without a word is found out by the system within this.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// An HTTP/2 connection carries many attempts and would fail each of them at its deadline; one
/// that does not answer pings is given up instead.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_DEADLINE: Duration = Duration::from_secs(5);

/// What an HTTP/2 endpoint may send before it is read, in bytes, for a response and for all
/// responses on a connection. Little more than what is read of one.
const STREAM_WINDOW_BYTES: u32 = 64 * 1_024;
const CONNECTION_WINDOW_BYTES: u32 = 1_024 * 1_024;

/// The headers of an HTTP/2 response. Those of HTTP/1 are bounded by hyper: 100 headers.
const HEADER_BYTES_MAX: u32 = 16 * 1_024;

/// Why endpoints cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum EndpointSetupError {
    /// A setting makes no sense.
    #[error("the settings of [endpoint] do not fit")]
    Settings(#[source] SettingsError),
    /// The file of certificate authorities cannot be read.
    #[error("`endpoint.ca_file`: cannot read certificates from {}", path.display())]
    CaFile {
        /// The file named.
        path: PathBuf,
        /// What stood in the way.
        #[source]
        source: pem::Error,
    },
    /// The file of certificate authorities holds none.
    #[error("`endpoint.ca_file`: no certificate in {}; it takes PEM", path.display())]
    NoCertificate {
        /// The file named.
        path: PathBuf,
    },
    /// A certificate in the file is not one of an authority.
    #[error("`endpoint.ca_file`: a certificate in {} is not usable", path.display())]
    Certificate {
        /// The file named.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Sends requests, over connections that it keeps.
pub(super) type Client =
    legacy::Client<Within<HttpsConnector<HttpConnector<Resolver>>>, Full<Bytes>>;

/// Builds the client; it connects only to what `resolver` gives it and to literal addresses.
pub(super) fn build(
    settings: &EndpointSettings,
    resolver: Resolver,
) -> Result<Client, EndpointSetupError> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(KEEP_ALIVE));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    // Shared by the addresses of a name, so that one that is silent leaves time for the others.
    tcp.set_connect_timeout(Some(settings.connect_deadline));
    let connector = HttpsConnectorBuilder::new()
        // It offers HTTP/2 and HTTP/1 by itself.
        .with_tls_config(tls(settings, &[])?)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp);
    let connector = Within { connector, deadline: settings.connect_deadline };
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        // As many for each host as were in flight to it, all its URLs together: each request finds a
        // connection again.
        .pool_max_idle_per_host(usize::MAX)
        .pool_idle_timeout(IDLE_TIME_MAX)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_DEADLINE)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .build(connector))
}

/// Connects within a deadline, names and TLS included.
#[derive(Clone)]
pub(super) struct Within<C> {
    connector: C,
    deadline: Duration,
}

impl<C> Service<Uri> for Within<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
    C::Response: Connection + rt::Read + rt::Write + Send + Unpin + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connected = tokio::time::timeout(self.deadline, self.connector.call(target));
        Box::pin(async move { connected.await? })
    }
}

/// TLS as every HTTP client of homing speaks it: trusting Mozilla's authorities and those of
/// `endpoint.ca_file`, and offering `protocols` (ALPN).
///
/// Names ring itself: rustls would otherwise take the process's default, which whoever comes first
/// sets (lapin does).
///
/// # Errors
///
/// [`EndpointSetupError`].
pub fn tls(
    settings: &EndpointSettings,
    protocols: &[&[u8]],
) -> Result<ClientConfig, EndpointSetupError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(EndpointSetupError::Tls)?
        .with_root_certificates(roots(settings)?)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Mozilla's authorities and those of `endpoint.ca_file`.
fn roots(settings: &EndpointSettings) -> Result<RootCertStore, EndpointSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    if settings.ca_file.is_empty() {
        return Ok(roots);
    }
    let path = || PathBuf::from(&settings.ca_file);
    let unread = |source| EndpointSetupError::CaFile { path: path(), source };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&settings.ca_file)
        .and_then(Iterator::collect)
        .map_err(unread)?;
    if certificates.is_empty() {
        return Err(EndpointSetupError::NoCertificate { path: path() });
    }
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|source| EndpointSetupError::Certificate { path: path(), source })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{endpoint::tests::samples::settings, report::Chain};

    fn refusal(ca_file: &str) -> String {
        let mut settings = settings();
        settings.ca_file = ca_file.to_owned();
        let error = roots(&settings).unwrap_err();
        Chain(&error).to_string().replace(ca_file, "<file>")
    }

    #[test]
    fn the_public_authorities_are_trusted() {
        assert!(roots(&settings()).unwrap().len() > 50);
    }

    #[test]
    fn a_bad_file_of_authorities_is_named() {
        insta::assert_snapshot!(refusal("/nowhere/ca.pem"), @"`endpoint.ca_file`: cannot read certificates from <file>: I/O error: No such file or directory (os error 2)");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        insta::assert_snapshot!(refusal(file.path().to_str().unwrap()), @"`endpoint.ca_file`: no certificate in <file>; it takes PEM");
        file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        insta::assert_snapshot!(refusal(file.path().to_str().unwrap()), @"`endpoint.ca_file`: a certificate in <file> is not usable: invalid peer certificate: BadEncoding");
    }
}
