//! Opens one connection to one node: dials, logs in, and explains a refusal.

use std::{sync::Arc, time::Duration};

use lapin::{
    Connection, ConnectionProperties,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::{
    addresses::Address,
    denial::{Denial, Reply},
    dial::{DialError, dial},
    error::BrokerError,
    tls::{self, Files},
    transport,
};
use crate::settings::{BrokerUrl, Login};

/// Options of a connection, used where its URL does not set them.
#[derive(Clone, Debug)]
pub(super) struct ConnectOptions {
    /// Shown by the broker.
    pub(super) name: String,
    pub(super) heartbeat: Duration,
    pub(super) connect_deadline: Duration,
    pub(super) max_frame_bytes: u32,
}

/// Connects to `address` with the parameters of its URL, else with those in `options`.
pub(super) async fn connect(
    address: &Address,
    files: &Files,
    options: ConnectOptions,
) -> Result<Connection, BrokerError> {
    let (url, shown) = (&address.url, || address.shown());
    let time = url.parameters.connect_deadline.unwrap_or(options.connect_deadline);
    let timed_out =
        || BrokerError::TimedOut { step: format!("connecting to {}", shown()), deadline: time };
    let deadline = Instant::now() + time;
    let stream = dial(url, files, deadline).await.map_err(|error| match error {
        DialError::Tcp(source) => {
            BrokerError::Connect { address: shown(), source: Arc::new(source) }
        }
        DialError::Tls(source) => BrokerError::Tls {
            address: shown(),
            advice: tls::advice(&source).unwrap_or("TLS failed"),
            source: Arc::new(source),
        },
        DialError::Files(error) => BrokerError::Files(Arc::new(error)),
        DialError::TimedOut => timed_out(),
    })?;
    let name = options.name.clone();
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = transport::over(uri(url, &options), properties, stream.compat());
    let connected = timeout_at(deadline, connecting).await.map_err(|_elapsed| timed_out())?;
    match connected.as_ref().err().and_then(transport::smaller_frames) {
        Some(max_frame_bytes) => {
            let options = ConnectOptions { max_frame_bytes, ..options };
            Box::pin(connect(address, files, options)).await
        }
        None => connected.map_err(|source| refused(url, source)),
    }
}

/// The URI for the login. Its host and port are not used any more.
fn uri(url: &BrokerUrl, options: &ConnectOptions) -> AMQPUri {
    let (username, password, mechanism) = match &url.login {
        Login::Password { user, password } => {
            (user.clone(), password.clone(), SASLMechanism::Plain)
        }
        Login::Certificate => (String::new(), String::new(), SASLMechanism::External),
    };
    let heartbeat = url.parameters.heartbeat.unwrap_or(options.heartbeat);
    AMQPUri {
        scheme: if url.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username, password },
            host: url.host.to_string(),
            port: url.port,
        },
        vhost: url.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(options.max_frame_bytes),
            channel_max: url.parameters.max_channels,
            heartbeat: Some(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX)),
            connection_timeout: None,
            auth_mechanism: Some(mechanism),
        },
    }
}

/// Explains why the handshake with `url` failed.
fn refused(url: &BrokerUrl, source: lapin::Error) -> BrokerError {
    let address = url.shown();
    if let Some(reply) = Reply::of(&source) {
        return BrokerError::Denied { address, reason: Denial::new(url, &reply), reply };
    }
    if let Some((advice, source)) = tls_advice(&source) {
        return BrokerError::Tls { address, advice, source: Arc::new(source) };
    }
    let hung_up = matches!(source.kind(), lapin::ErrorKind::IOError(error) if HUNG_UP.contains(&error.kind()));
    // Such as an alert of TLS.
    let is_no_amqp = matches!(source.kind(), lapin::ErrorKind::ParsingError(_));
    if !hung_up && !is_no_amqp {
        return BrokerError::Connect { address, source: Arc::new(source) };
    }
    // A broker that requires a certificate may hang up before its alert is read.
    let advice = if url.tls {
        "it may ask for another client certificate (`broker.client_certificate_file`)"
    } else {
        "it may expect TLS (amqps://), or speak something else than AMQP"
    };
    BrokerError::HungUp { address, advice, source: Box::new(source) }
}

/// Errors that mean that the peer hung up.
const HUNG_UP: [std::io::ErrorKind; 4] = [
    std::io::ErrorKind::ConnectionReset,
    std::io::ErrorKind::ConnectionAborted,
    std::io::ErrorKind::UnexpectedEof,
    std::io::ErrorKind::BrokenPipe,
];

/// Finds a TLS failure that shows only when the first bytes are read: in TLS 1.3 the broker checks
/// our certificate after the handshake.
fn tls_advice(error: &lapin::Error) -> Option<(&'static str, std::io::Error)> {
    let lapin::ErrorKind::IOError(error) = error.kind() else { return None };
    let advice = tls::advice(error)?;
    Some((advice, std::io::Error::other(error.to_string())))
}
