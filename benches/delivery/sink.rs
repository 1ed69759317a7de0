//! The endpoints: a process of its own that answers as cheaply as it can and records the times.
//!
//! It reads HTTP/1.1 as far as homing and the bare loop write it: requests with `content-length`.
//! The path says what it answers:
//!
//! | path             | answer                                                        |
//! |------------------|---------------------------------------------------------------|
//! | `/ok/…`          | 200                                                           |
//! | `/fail/…`        | 503                                                           |
//! | `/tenth/…`       | 503 to one of ten first attempts, 200 to all others           |
//! | `/hang/…`        | nothing, ever                                                 |
//! | `/replayed/…`    | 200; counts different ids                                     |
//! | `/once/MS/…`     | 503 to the first attempt; the next one is due MS later        |
//! | `/after/MS/…`    | 200 after MS                                                  |
//! | `/down/WORD`     | 200; from then on 503 to `/WORD/…`, whatever is said above    |
//! | `/up/WORD`       | 200; that is over                                             |
//! | `/report`        | what came since the last `/reset`, as JSON                    |
//! | `/reset`         | 200                                                           |

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, BytesMut};
use memchr::memmem;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{machine::micros, stage::STAMP_BYTES};

/// Requests, by the first word of the path.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) groups: HashMap<String, Group>,
}

/// The requests of one group; times in microseconds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) requests: u64,
    /// The different `webhook-id`s of what was replayed.
    pub(crate) distinct: u64,
    /// Since 1970.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// From the publish to the arrival, of bodies with a stamp.
    pub(crate) latency: Percentiles,
    /// From the instant at which an attempt was due to its arrival; of what was published while
    /// the endpoint was down and never attempted, from its end.
    pub(crate) lateness: Percentiles,
    /// The same of what was published while it was down and attempted.
    pub(crate) retried: Percentiles,
    /// Requests while it was down.
    pub(crate) refused: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Percentiles {
    fn of(values: &[u64]) -> Self {
        let mut values = values.to_vec();
        values.sort_unstable();
        let at = |percent: usize| values.get((values.len() * percent).div_ceil(100).max(1) - 1);
        let at = |percent| at(percent).copied().unwrap_or_default();
        let count = u64::try_from(values.len()).unwrap_or(u64::MAX);
        Self { count, p50: at(50), p99: at(99), max: at(100) }
    }
}

#[derive(Default)]
struct Arrivals {
    requests: u64,
    ids: HashSet<String>,
    first: u64,
    last: u64,
    latencies: Vec<u64>,
    latenesses: Vec<u64>,
    retried: Vec<u64>,
    refused: u64,
    /// When it went down last, and when it was up again.
    down: u64,
    up: u64,
    /// When the second attempts of these deliveries are due.
    due: HashMap<String, u64>,
}

#[derive(Default)]
struct Sink {
    groups: Mutex<HashMap<String, Arrivals>>,
}

/// The head of a request, as far as it matters.
struct Head {
    path: String,
    length: usize,
    first_attempt: bool,
    id: String,
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

enum Answer {
    Status(u16),
    Json(String),
    After(Duration),
    Silence,
}

impl Head {
    fn read(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.split("\r\n");
        let path = lines.next()?.split(' ').nth(1)?.to_owned();
        let mut read = Self { path, length: 0, first_attempt: true, id: String::new() };
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            match name {
                "content-length" => read.length = value.parse().ok()?,
                "x-homing-attempt" => read.first_attempt = value == "1",
                "webhook-id" => value.clone_into(&mut read.id),
                _ => {}
            }
        }
        Some(read)
    }
}

impl Report {
    fn json(&self) -> String {
        serde_json::to_string(self).expect("it is JSON")
    }
}

impl Sink {
    fn answer(&self, head: &Head, stamp: Option<u64>) -> Answer {
        let mut groups = self.groups.lock();
        let mut words = head.path.split('/').skip(1);
        let group = words.next().unwrap_or_default();
        match group {
            "reset" => {
                groups.clear();
                return Answer::Status(200);
            }
            "report" => {
                let groups =
                    groups.iter().map(|(name, arrivals)| (name.clone(), arrivals.report()));
                return Answer::Json(Report { groups: groups.collect() }.json());
            }
            "down" | "up" => {
                let arrivals = groups.entry(words.next().unwrap_or_default().to_owned());
                let arrivals = arrivals.or_default();
                let now = micros();
                if group == "down" {
                    (arrivals.down, arrivals.up) = (now, u64::MAX);
                } else {
                    arrivals.up = now;
                }
                return Answer::Status(200);
            }
            _ => {}
        }
        let now = micros();
        if !groups.contains_key(group) {
            groups.insert(group.to_owned(), Arrivals { first: now, ..Arrivals::default() });
        }
        let arrivals = groups.get_mut(group).expect("just put there");
        arrivals.requests += 1;
        arrivals.last = now;
        if let Some(stamp) = stamp {
            arrivals.latencies.push(now.saturating_sub(stamp));
        }
        if arrivals.up == u64::MAX {
            arrivals.refused += 1;
            return Answer::Status(503);
        }
        if stamp.is_some_and(|stamp| arrivals.down < stamp && stamp < arrivals.up) {
            let late = now.saturating_sub(arrivals.up);
            let of_its_kind =
                if head.first_attempt { &mut arrivals.latenesses } else { &mut arrivals.retried };
            of_its_kind.push(late);
        }
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        match group {
            "fail" => Answer::Status(503),
            "hang" => Answer::Silence,
            "after" => Answer::After(Duration::from_millis(number())),
            "tenth" if head.first_attempt && arrivals.requests.is_multiple_of(10) => {
                Answer::Status(503)
            }
            "replayed" => {
                arrivals.ids.insert(head.id.clone());
                Answer::Status(200)
            }
            "once" if head.first_attempt => {
                arrivals.due.insert(head.id.clone(), now + number() * 1_000);
                Answer::Status(503)
            }
            "once" => {
                if let Some(due) = arrivals.due.remove(&head.id) {
                    arrivals.latenesses.push(now.saturating_sub(due));
                }
                Answer::Status(200)
            }
            _ => Answer::Status(200),
        }
    }
}

impl Arrivals {
    fn report(&self) -> Group {
        Group {
            requests: self.requests,
            distinct: u64::try_from(self.ids.len()).unwrap_or(u64::MAX),
            first: self.first,
            last: self.last,
            latency: Percentiles::of(&self.latencies),
            lateness: Percentiles::of(&self.latenesses),
            retried: Percentiles::of(&self.retried),
            refused: self.refused,
        }
    }
}

/// Serves HTTP, and HTTPS with the certificate and key in `folder`, for ever; prints both ports
/// first.
pub(crate) async fn run(folder: &Path) -> io::Result<()> {
    let tls = acceptor(folder)?;
    let (plain, secure) = (listen().await?, listen().await?);
    println!("{} {}", plain.local_addr()?.port(), secure.local_addr()?.port());
    let sink = Arc::new(Sink::default());
    loop {
        let sink = Arc::clone(&sink);
        tokio::select! {
            accepted = plain.accept() => {
                let stream = accepted?.0;
                stream.set_nodelay(true)?;
                tokio::spawn(async move { serve(stream, &sink).await });
            }
            accepted = secure.accept() => {
                let (stream, tls): (TcpStream, _) = (accepted?.0, tls.clone());
                stream.set_nodelay(true)?;
                tokio::spawn(async move { serve(tls.accept(stream).await?, &sink).await });
            }
        }
    }
}

fn acceptor(folder: &Path) -> io::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(folder.join("ca.pem"));
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"));
    let (certificate, key) = (certificate.expect("a certificate"), key.expect("a key"));
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map(|config| TlsAcceptor::from(Arc::new(config)))
        .map_err(io::Error::other)
}

async fn listen() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, sink: &Sink) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(16 * 1_024);
    loop {
        let end = loop {
            if let Some(at) = memmem::find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let Some(head) = buffer.get(..end).and_then(Head::read) else { return Ok(()) };
        buffer.advance(end);
        let mut left = head.length;
        while buffer.len() < left.min(STAMP_BYTES) && stream.read_buf(&mut buffer).await? > 0 {}
        let stamp = buffer.get(..STAMP_BYTES).and_then(|stamp| std::str::from_utf8(stamp).ok());
        let stamp = stamp.and_then(|stamp| u64::from_str_radix(stamp, 16).ok());
        while left > 0 {
            let here = left.min(buffer.len());
            buffer.advance(here);
            left -= here;
            if left > 0 && stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        match sink.answer(&head, stamp.filter(|stamp| *stamp > 0)) {
            Answer::Status(200) => stream.write_all(OK).await?,
            Answer::After(wait) => {
                tokio::time::sleep(wait).await;
                stream.write_all(OK).await?;
            }
            Answer::Status(status) => {
                let text = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(text.as_bytes()).await?;
            }
            Answer::Json(body) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await?;
            }
            Answer::Silence => while stream.read_buf(&mut buffer).await? > 0 {},
        }
        stream.flush().await?;
    }
}
