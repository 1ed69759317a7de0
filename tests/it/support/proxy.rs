//! A TCP proxy between a worker and its broker, in the test's own process: it cuts, stalls and
//! loses one end, which no broker does on request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

/// The fate of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// They pass.
    Open,
    /// They stop without a notice: new connections are taken, and silent too.
    Stalled,
}

/// The fate of present connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Both ends are closed.
    Cut,
    /// The broker's end is closed; the worker's stays open and silent.
    HalfOpen,
}

/// The bytes before the tag of every `basic.ack`: the size of its frame, class and method.
const ACK: [u8; 8] = [0, 0, 0, 13, 0, 60, 0, 80];

/// Bytes at which a connection ends, before they are through.
#[derive(Clone, Default)]
struct Fatal {
    /// Sent by the broker.
    of_broker: Option<&'static [u8]>,
    /// So many acks of clients are left that do not get through.
    acks: Arc<AtomicU32>,
}

impl Fatal {
    fn ends_broker(&self, bytes: &[u8]) -> bool {
        self.of_broker.is_some_and(|fatal| has(bytes, fatal))
    }

    fn ends_client(&self, bytes: &[u8]) -> bool {
        let take = |left: u32| left.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        has(bytes, &ACK) && self.acks.fetch_update(set, fetch, take).is_ok()
    }
}

fn has(bytes: &[u8], sought: &[u8]) -> bool {
    bytes.windows(sought.len()).any(|window| window == sought)
}

/// Listens on loopback until dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    /// Counts how often connections were ended, and how the last time.
    end: Arc<watch::Sender<(u64, End)>>,
    fatal: Fatal,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// In front of the broker with this URL.
    pub(crate) async fn to(url: &str) -> Self {
        Self::serve(url, Fatal::default()).await
    }

    /// The same, which ends a connection over which the broker sends these bytes, before they are
    /// through.
    pub(crate) async fn cutting_at(url: &str, bytes: &'static [u8]) -> Self {
        Self::serve(url, Fatal { of_broker: Some(bytes), ..Fatal::default() }).await
    }

    /// The same, which ends the connections of so many acks of clients, before the broker has them.
    pub(crate) async fn cutting_acks(url: &str, acks: u32) -> Self {
        Self::serve(url, Fatal { acks: Arc::new(acks.into()), ..Fatal::default() }).await
    }

    /// The acks that are still to be cut off.
    pub(crate) fn acks_left(&self) -> u32 {
        self.fatal.acks.load(Ordering::Relaxed)
    }

    async fn serve(url: &str, fatal: Fatal) -> Self {
        let broker: url::Url = url.parse().expect("a URL");
        let port = broker.port().expect("test brokers have a port of their own");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let line = Arc::new(watch::Sender::new(Line::Open));
        let end = Arc::new(watch::Sender::new((0, End::Cut)));
        let (lines, ends) = (line.subscribe(), end.subscribe());
        let of_relays = fatal.clone();
        let serving = async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (lines, mut ends) = (lines.clone(), ends.clone());
                ends.mark_unchanged();
                connections.spawn(relay(client, (port, of_relays.clone()), lines, ends));
            }
        };
        #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
        let serving = AbortOnDropHandle::new(tokio::spawn(serving));
        Self { address, line, end, fatal, _serving: serving }
    }

    /// The broker's URL through this proxy.
    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }

    /// Ends all connections; new ones are served.
    pub(crate) fn cut(&self) {
        self.end.send_modify(|(count, end)| (*count, *end) = (*count + 1, End::Cut));
    }

    /// The broker loses all connections without a notice to the worker; new ones are served.
    pub(crate) fn half_open(&self) {
        self.end.send_modify(|(count, end)| (*count, *end) = (*count + 1, End::HalfOpen));
    }

    /// Bytes stop in both directions, also of new connections, and no connection ends.
    pub(crate) fn stall(&self) {
        self.line.send_replace(Line::Stalled);
    }

    /// Bytes pass again, those that were held up first.
    pub(crate) fn flow(&self) {
        self.line.send_replace(Line::Open);
    }
}

async fn relay(
    mut client: TcpStream,
    (port, fatal): (u16, Fatal),
    mut lines: watch::Receiver<Line>,
    mut ends: watch::Receiver<(u64, End)>,
) {
    if lines.wait_for(|line| *line == Line::Open).await.is_err() {
        return;
    }
    let Ok(mut broker) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        tokio::select! {
            () = pump(from_client, to_broker, |sent| fatal.ends_client(sent), lines.clone()) => None,
            () = pump(from_broker, to_client, |sent| fatal.ends_broker(sent), lines) => None,
            changed = ends.changed() => changed.ok(),
        }
    };
    drop(broker);
    if ended.is_some() && ends.borrow().1 == End::HalfOpen {
        // The worker's end stays open with this task.
        std::future::pending::<()>().await;
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    is_fatal: impl Fn(&[u8]) -> bool,
    mut lines: watch::Receiver<Line>,
) {
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if lines.wait_for(|line| *line == Line::Open).await.is_err() {
            return;
        }
        let Some(bytes) = buffer.get(..read) else { return };
        if is_fatal(bytes) {
            return;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
