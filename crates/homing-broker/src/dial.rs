//! Opens a byte stream to one node of the broker: name lookup, TCP, TLS.

use std::{io, pin::Pin, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use url::Host;

use super::tls::Files;
use crate::settings::BrokerUrl;
use homing_domain::settings::SettingsError;

/// A bidirectional byte stream.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A stream to the broker, encrypted if the URL says so.
pub(super) type Stream = Pin<Box<dyn Bytes>>;

/// Reasons why there is no stream.
#[derive(Debug)]
pub(super) enum DialError {
    /// The name was not found, or none of its addresses accepts connections.
    Tcp(io::Error),
    /// The TLS handshake failed.
    Tls(io::Error),
    /// A file that TLS needs cannot be used.
    Files(SettingsError),
    /// The deadline has passed.
    TimedOut,
}

/// Connects to `url` within `deadline`, which the addresses of its name share, so that a silent one
/// leaves time for the others.
pub(super) async fn dial(
    url: &BrokerUrl,
    files: &Files,
    deadline: Instant,
) -> Result<Stream, DialError> {
    let tcp = timeout_at(deadline, tcp(url, deadline)).await;
    let tcp = tcp.map_err(|_elapsed| DialError::TimedOut)?.map_err(DialError::Tcp)?;
    if !url.tls {
        return Ok(Box::pin(tcp));
    }
    let (files, target) = (files.clone(), url.clone());
    let reading = tokio::task::spawn_blocking(move || files.configuration(&target));
    let reading = timeout_at(deadline, reading).await.map_err(|_elapsed| DialError::TimedOut)?;
    let configuration = reading
        .map_err(|error| DialError::Tls(io::Error::other(error)))?
        .map_err(DialError::Files)?;
    let name = server_name(url).map_err(DialError::Tls)?;
    let connector = TlsConnector::from(std::sync::Arc::new(configuration));
    let tls = timeout_at(deadline, connector.connect(name, tcp)).await;
    let tls = tls.map_err(|_elapsed| DialError::TimedOut)?.map_err(DialError::Tls)?;
    Ok(Box::pin(tls))
}

async fn tcp(url: &BrokerUrl, deadline: Instant) -> io::Result<TcpStream> {
    let addresses: Vec<_> = match &url.host {
        Host::Domain(name) => lookup_host((name.as_str(), url.port)).await?.collect(),
        Host::Ipv4(ip) => vec![(*ip, url.port).into()],
        Host::Ipv6(ip) => vec![(*ip, url.port).into()],
    };
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match connect(*address, share).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

async fn connect(address: std::net::SocketAddr, share: Duration) -> io::Result<TcpStream> {
    let stream = timeout(share, TcpStream::connect(address)).await?;
    let stream = stream?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The name that the broker's certificate must match; also sent as SNI.
fn server_name(url: &BrokerUrl) -> io::Result<ServerName<'static>> {
    if let Some(name) = &url.parameters.server_name {
        return ServerName::try_from(name.clone()).map_err(io::Error::other);
    }
    match &url.host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(io::Error::other),
        Host::Ipv4(ip) => Ok(ServerName::IpAddress(std::net::IpAddr::V4(*ip).into())),
        Host::Ipv6(ip) => Ok(ServerName::IpAddress(std::net::IpAddr::V6(*ip).into())),
    }
}
