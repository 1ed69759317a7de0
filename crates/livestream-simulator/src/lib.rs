//! A simulator of Adobe's Live Stream API, for developers and tests without access to the real one.
//!
//! It behaves as documented where clients make mistakes: one connection too many is refused with
//! 409, and a lost connection counts for another minute; tokens expire; requests are redirected;
//! the data is gzip, cut anywhere, with blank lines in between; connections end suddenly, and the
//! last records are repeated on the next one. On demand it answers anything else.
//!
//! [`Simulator`] holds the state and is controlled by tests; `answer` is its HTTP side, `stream`
//! the endless body, `tokens` the token service, `hits` makes records. Times are those of
//! [`Behaviour`], divided by its speed.
//!
//! Source: Adobe Analytics, *Live Stream*.

mod answer;
mod hits;
mod stream;
mod tokens;

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{hits::Hits, tokens::Tokens};

/// The behaviour of the service, in its own time.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The factor: this many times faster than real time.
    pub speed: u32,
    /// The only stream; others are not found.
    pub stream: String,
    /// Records made per second, for all connections together.
    pub rate: Rate,
    /// A lost connection counts for this long.
    pub stale: Duration,
    /// The lifetime of a token.
    pub token_lifetime: Duration,
    /// Redirects from the documented URL to another one.
    pub redirects: bool,
    /// Redirects there instead.
    pub redirects_to: Option<String>,
    /// A connection is dropped at this age.
    pub drop_every: Option<Duration>,
    /// The time between two blank lines on a silent connection.
    pub blank_every: Duration,
    /// The largest chunk of the compressed stream, in bytes.
    pub chunk_bytes: usize,
    /// The number of last records of a lost connection that are repeated.
    pub repeats: usize,
}

/// The rate at which the service makes records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Only those passed to [`Simulator::send`].
    Nothing,
    /// This many per second.
    PerSecond(f64),
    /// As many as are read.
    Unlimited,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            speed: 1,
            stream: "simulated".to_owned(),
            rate: Rate::Nothing,
            stale: Duration::from_secs(60),
            token_lifetime: Duration::from_secs(86_399),
            redirects: true,
            redirects_to: None,
            drop_every: None,
            blank_every: Duration::from_secs(10),
            chunk_bytes: 16 * 1_024,
            repeats: 20,
        }
    }
}

/// The service; clones share their state.
#[derive(Clone, Debug)]
pub struct Simulator {
    behaviour: Arc<Behaviour>,
    state: Arc<Mutex<State>>,
    /// Signals new records, or that connections are to be dropped.
    events: Arc<watch::Sender<()>>,
}

/// A request for the stream, and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The time of the request.
    pub at: Instant,
    /// The status of the response; redirects are not recorded.
    pub status: u16,
    /// The query of the request.
    pub query: String,
}

/// A response instead of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// Older ones are forgotten.
const MAX_CONNECTS: usize = 10_000;
/// The service keeps unread records for this long.
const KEPT: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct State {
    tokens: Tokens,
    connected: usize,
    /// The instants at which lost connections stop counting.
    stale_until: Vec<Instant>,
    refusals: VecDeque<Refusal>,
    connects: VecDeque<Connect>,
    given: VecDeque<Bytes>,
    hits: Hits,
    sent: u64,
    /// Increases when all connections are to be dropped.
    drops: u64,
}

impl Simulator {
    /// A service that is not listening yet.
    #[must_use]
    pub fn new(behaviour: Behaviour) -> Self {
        let state = State {
            tokens: Tokens::default(),
            connected: 0,
            stale_until: Vec::new(),
            refusals: VecDeque::new(),
            connects: VecDeque::new(),
            given: VecDeque::new(),
            hits: Hits::new(behaviour.rate),
            sent: 0,
            drops: 0,
        };
        let (state, events) = (Arc::new(Mutex::new(state)), Arc::new(watch::Sender::new(())));
        Self { behaviour: Arc::new(behaviour), state, events }
    }

    /// Serves all connections of `listener`, until `stop`.
    ///
    /// # Errors
    ///
    /// No more connections can be accepted.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let tasks = TaskTracker::new();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            let (connection, _) = accepted?;
            let (service, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                stop.run_until_cancelled(service.serve_connection(connection)).await;
            });
        }
        tasks.close();
        tasks.wait().await;
        Ok(())
    }

    /// Serves one connection to its end, over any transport.
    pub async fn serve_connection<C: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        connection: C,
    ) {
        let service = service_fn(|request| {
            let simulator = self.clone();
            async move { Ok::<_, io::Error>(simulator.answer(request).await) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        // Connections that end suddenly are expected here.
        drop(server.serve_connection(TokioIo::new(connection), service).await);
    }

    /// Sends a record to the next connection.
    pub fn send(&self, record: impl Into<Bytes>) {
        self.state.lock().given.push_back(record.into());
        self.events.send_replace(());
    }

    /// Answers the next `times` requests for the stream with `refusal`.
    pub fn refuse(&self, refusal: &Refusal, times: usize) {
        self.state.lock().refusals.extend(std::iter::repeat_n(refusal.clone(), times));
    }

    /// Ends all connections suddenly.
    pub fn drop_connections(&self) {
        let mut state = self.state.lock();
        state.drops = state.drops.wrapping_add(1);
        drop(state);
        self.events.send_replace(());
    }

    /// Invalidates all tokens.
    pub fn expire_tokens(&self) {
        self.state.lock().tokens.expire();
    }

    /// The requests for the stream so far, oldest first; the last 10,000.
    #[must_use]
    pub fn connects(&self) -> Vec<Connect> {
        self.state.lock().connects.iter().cloned().collect()
    }

    /// Connections now.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.state.lock().connected
    }

    /// Records sent, repetitions included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.state.lock().sent
    }

    /// Tokens issued.
    #[must_use]
    pub fn tokens_given(&self) -> u64 {
        self.state.lock().tokens.given()
    }

    /// A duration of the service in real time.
    fn real(&self, time: Duration) -> Duration {
        time / self.behaviour.speed.max(1)
    }
}

impl State {
    /// Connections that count: open ones, and lost ones that are not forgotten yet.
    fn counted(&mut self, now: Instant) -> usize {
        self.stale_until.retain(|until| *until > now);
        self.connected.saturating_add(self.stale_until.len())
    }

    fn log(&mut self, connect: Connect) {
        if self.connects.len() >= MAX_CONNECTS {
            self.connects.pop_front();
        }
        self.connects.push_back(connect);
    }
}
