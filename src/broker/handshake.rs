//! One connection to one node: dialled, logged in, and what a refusal means.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lapin::{
    Connection, ConnectionProperties,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::{
    addresses::Address,
    dial::{DialError, dial},
    error::BrokerError,
    tls::{self, Files},
    transport,
};
use crate::config::{BrokerUrl, Login};

/// What a connection is asked for where its URL does not say it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Shown by the broker.
    pub(super) name: String,
    pub(super) heartbeat: Duration,
    pub(super) connect_deadline: Duration,
    pub(super) frame_bytes_max: u32,
}

/// Connects to `address` as its URL says, and as `wanted` says where the URL is silent.
pub(super) async fn connect(
    address: &Address,
    files: &Files,
    wanted: Wanted,
) -> Result<Connection, BrokerError> {
    let (url, shown) = (&address.url, || address.shown());
    let time = url.parameters.connect_deadline.unwrap_or(wanted.connect_deadline);
    let timed_out =
        || BrokerError::TimedOut { step: format!("connecting to {}", shown()), deadline: time };
    let deadline = Instant::now() + time;
    let stream = dial(url, files, deadline).await.map_err(|error| match error {
        DialError::Tcp(source) => {
            BrokerError::Connect { address: shown(), source: Box::new(source) }
        }
        DialError::Tls(source) => BrokerError::Tls {
            address: shown(),
            advice: tls::advice(&source).unwrap_or("TLS failed"),
            source: Box::new(source),
        },
        DialError::Files(error) => BrokerError::Files(error),
        DialError::TimedOut => timed_out(),
    })?;
    let name = wanted.name.clone();
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let given = Mutex::new(Some(stream.compat()));
    // Called once: another stream would need another connection.
    let connecting = transport::over(said(url, &wanted), properties, async move |_uri: &_| {
        let stream = given.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| std::io::ErrorKind::ConnectionAborted.into())
    });
    match timeout_at(deadline, connecting).await {
        Ok(connected) => connected.map_err(|source| BrokerError::refused(url, source)),
        Err(_elapsed) => Err(timed_out()),
    }
}

/// All that is said to the broker while logging in. Host and port play no part any more.
fn said(url: &BrokerUrl, wanted: &Wanted) -> AMQPUri {
    let (username, password, mechanism) = match &url.login {
        Login::Password { user, password } => {
            (user.clone(), password.clone(), SASLMechanism::Plain)
        }
        Login::Certificate => (String::new(), String::new(), SASLMechanism::External),
    };
    let heartbeat = url.parameters.heartbeat.unwrap_or(wanted.heartbeat);
    AMQPUri {
        scheme: if url.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username, password },
            host: url.host.to_string(),
            port: url.port,
        },
        vhost: url.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(wanted.frame_bytes_max),
            channel_max: url.parameters.channels_max,
            heartbeat: Some(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX)),
            connection_timeout: None,
            auth_mechanism: Some(mechanism),
        },
    }
}
