//! Connections that reconnect: opened when needed, reopened after a loss, never used before the
//! topology is declared.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{Connection, Event};
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use super::{
    addresses::{Address, Addresses},
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    handshake::{self, ConnectOptions},
    login_renewal::renew,
    tls::Files,
    topology_guard::TopologyGuard,
};
use crate::settings::BrokerSettings;

/// The largest frame to negotiate, half of what RabbitMQ would take: the client has room for 64 on
/// each connection, 4 MiB, and uses all of it in turns. The headers of a message must fit into one;
/// larger ones are left out. Requested explicitly, because the client writes zeros to all its room
/// if it learns the size from the broker.
const MAX_FRAME_BYTES: u32 = 65_536;

/// The present state of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionState {
    /// True if it is open.
    pub connected: bool,
    /// The broker's reason for taking no messages (a memory or disk alarm).
    pub blocked: Option<String>,
}

/// A connection for one purpose, reopened after a loss.
pub(super) struct ManagedConnection {
    purpose: &'static str,
    addresses: Arc<Addresses>,
    files: Files,
    heartbeat: Duration,
    connect_deadline: Duration,
    /// `None`: the URL's, or [`MAX_FRAME_BYTES`].
    requested_frame_bytes: Option<u32>,
    /// As negotiated for the latest connection.
    max_frame_bytes: AtomicU32,
    topology_guard: Arc<TopologyGuard>,
    current: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// State of the latest connection; an older one writes only to its own.
    state: Mutex<Arc<Mutex<ConnectionState>>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl ManagedConnection {
    pub(super) fn new(
        purpose: &'static str,
        settings: &BrokerSettings,
        (addresses, topology_guard): (Arc<Addresses>, Arc<TopologyGuard>),
        (tasks, closing): (TaskTracker, CancellationToken),
    ) -> Self {
        Self {
            purpose,
            addresses,
            files: Files::new(settings),
            heartbeat: settings.heartbeat,
            connect_deadline: settings.connect_deadline,
            requested_frame_bytes: None,
            max_frame_bytes: AtomicU32::new(MAX_FRAME_BYTES),
            topology_guard,
            current: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            tasks,
            closing,
        }
    }

    /// Negotiates small frames, for which the client has less room: for short messages only.
    pub(super) fn with_small_frames(self) -> Self {
        /// Twice the smallest. Source: AMQP 0-9-1, 4.2.3, `frame-min-size`.
        const SMALL: u32 = 8_192;
        Self { requested_frame_bytes: Some(SMALL), ..self }
    }

    /// Returns the present connection, or opens one. One caller connects while the others wait for
    /// it; callers that fail retry with their own back-off.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a caller that gives up does not stop the connecting, so that callers with
    /// short deadlines cannot keep each other from ever being connected.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Arc<Connection>, BrokerError> {
        let link = Arc::clone(self);
        let opening = self.tasks.spawn(async move { link.open_now().await });
        opening.await.map_err(|_panicked| BrokerError::Closed)?
    }

    async fn open_now(&self) -> Result<Arc<Connection>, BrokerError> {
        let mut current = self.current.lock().await;
        if self.closing.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        if let Some(connection) = current.as_ref().filter(|current| current.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        drop(current.take());
        let mut connection = self.connect_and_ensure().await?;
        if !connection.status().connected() {
            // The broker ended it over the archive, which is not declared again.
            connection = self.connect_and_ensure().await?;
        }
        *current = Some(Arc::clone(&connection));
        info!(purpose = self.purpose, "broker.connected");
        Ok(connection)
    }

    /// Opens a connection that is renewed in time, and makes sure that the topology is declared.
    async fn connect_and_ensure(&self) -> Result<Arc<Connection>, BrokerError> {
        let (connection, address) = self.connect_to_any().await?;
        let connection = Arc::new(connection);
        self.max_frame_bytes.store(connection.configuration().frame_max(), Ordering::Relaxed);
        self.watch(&connection, Arc::clone(&address));
        let renewing = renew(Arc::clone(&self.addresses), address, Arc::downgrade(&connection));
        let closing = self.closing.clone();
        self.tasks.spawn(async move { closing.run_until_cancelled(renewing).await });
        self.topology_guard.ensure(&connection).await?;
        Ok(connection)
    }

    /// Makes sure that the topology is declared.
    pub(super) async fn ensure_topology(self: &Arc<Self>) -> Result<(), BrokerError> {
        let connection = self.open().await?;
        self.topology_guard.ensure(&connection).await
    }

    /// Declares the topology on the present connection again.
    pub(super) async fn declare_topology(self: &Arc<Self>) -> Result<(), BrokerError> {
        let connection = self.open().await?;
        self.topology_guard.declare(&connection).await
    }

    /// The largest frame that the latest connection may send.
    pub(super) fn max_frame_bytes(&self) -> usize {
        usize::try_from(self.max_frame_bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    pub(super) fn state(&self) -> ConnectionState {
        let state = Arc::clone(&self.state.lock());
        state.lock().clone()
    }

    pub(super) async fn close(&self) {
        let Some(connection) = self.current.lock().await.take() else { return };
        let closed = connection.close(200, "OK".into());
        if let Err(error) =
            within(connection.as_ref(), ROUND_TRIP_DEADLINE, "closing the connection", closed).await
        {
            debug!(purpose = self.purpose, error = error.report(), "broker.close_failed");
        }
    }

    /// Opens a separate connection and declares nothing on it.
    pub(super) async fn open_bare(&self) -> Result<Connection, BrokerError> {
        self.connect_to_any().await.map(|(connection, _address)| connection)
    }

    async fn connect_to_any(&self) -> Result<(Connection, Arc<Address>), BrokerError> {
        let mut last_error = BrokerError::Closed;
        for address in self.addresses.in_order().await {
            match self.connect(&address).await {
                Ok(connection) => return Ok((connection, address)),
                Err(error) => {
                    address.failed();
                    last_error = error;
                }
            }
        }
        Err(last_error)
    }

    async fn connect(&self, address: &Address) -> Result<Connection, BrokerError> {
        let requested = self.requested_frame_bytes.or(address.url.parameters.max_frame_bytes);
        let options = ConnectOptions {
            name: format!("homing {} {}", env!("CARGO_PKG_VERSION"), self.purpose),
            heartbeat: self.heartbeat,
            connect_deadline: self.connect_deadline,
            max_frame_bytes: requested.unwrap_or(MAX_FRAME_BYTES),
        };
        handshake::connect(address, &self.files, options).await
    }

    /// Follows the connection's events until it ends, among them when the broker blocks it.
    ///
    /// While a connection lives, lapin does not reuse the number of a channel that the broker
    /// closed (4.12, `Frames::poison_channel`). When half of the numbers are spent, the connection
    /// is closed, and its next user opens another.
    fn watch(&self, connection: &Arc<Connection>, address: Arc<Address>) {
        let mut events = connection.events_listener();
        let status = connection.status().clone();
        let (watched, mut spent) = (Arc::downgrade(connection), 0);
        let max_spent = (connection.configuration().channel_max() / 2).max(1);
        let state = Arc::new(Mutex::new(ConnectionState { connected: true, blocked: None }));
        *self.state.lock() = Arc::clone(&state);
        let purpose = self.purpose;
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            while let Some(Some(event)) = closing.run_until_cancelled(events.next()).await {
                if closing.is_cancelled() {
                    // Its end is intended.
                    break;
                }
                // Errors of single channels arrive here too.
                match handle_event(event, purpose, &state) {
                    None => continue,
                    Some(_) if status.connected() => spent += 1,
                    Some(error) => {
                        warn!(purpose, broker = address.shown(), %error, "broker.connection_lost");
                        address.failed();
                        break;
                    }
                }
                if spent >= max_spent {
                    info!(purpose, spent, "broker.connection_renewed");
                    end(&watched).await;
                    break;
                }
            }
            *state.lock() = ConnectionState::default();
        });
    }
}

/// Returns the error of an event; notes in `state` that the broker blocks the connection, or not any
/// more.
fn handle_event(
    event: Event,
    purpose: &'static str,
    state: &Mutex<ConnectionState>,
) -> Option<lapin::Error> {
    if let Event::ConnectionBlocked(reason) = event {
        warn!(purpose, reason, "broker.blocked");
        state.lock().blocked = Some(reason);
    } else if matches!(event, Event::ConnectionUnblocked) {
        info!(purpose, "broker.unblocked");
        state.lock().blocked = None;
    } else if let Event::Error(error) = event {
        return Some(error);
    }
    None
}

/// A connection for passive declares of what may not exist. The broker answers each miss by closing
/// the channel, whose number is then spent (see [`ManagedConnection::watch`]), so the connection is
/// replaced in time.
pub(super) struct PassiveConnection<'a> {
    link: &'a ManagedConnection,
    connection: Connection,
    spent: u16,
}

impl<'a> PassiveConnection<'a> {
    /// Opens a separate connection and declares nothing on it.
    pub(super) async fn over(link: &'a ManagedConnection) -> Result<Self, BrokerError> {
        Ok(Self { link, connection: link.open_bare().await?, spent: 0 })
    }

    /// Returns the present connection, replaced once half of its channel numbers are spent.
    pub(super) async fn get(&mut self) -> Result<&Connection, BrokerError> {
        if self.spent > self.connection.configuration().channel_max() / 2 {
            let next = self.link.open_bare().await?;
            let last = std::mem::replace(&mut self.connection, next);
            self.spent = 0;
            let closed = last.close(200, "OK".into());
            // If that fails, it has ended anyway.
            drop(within(&last, ROUND_TRIP_DEADLINE, "closing a connection", closed).await);
        }
        Ok(&self.connection)
    }

    /// Notes how many channels the broker has closed at most.
    pub(super) fn spend(&mut self, channels: u16) {
        self.spent = self.spent.saturating_add(channels);
    }
}

/// Closes `connection` if it is still in use.
async fn end(connection: &Weak<Connection>) {
    let Some(connection) = connection.upgrade() else { return };
    let closed = connection.close(200, "OK".into());
    // If that fails, it has ended anyway.
    let _ended =
        within(connection.as_ref(), ROUND_TRIP_DEADLINE, "closing the connection", closed).await;
}
