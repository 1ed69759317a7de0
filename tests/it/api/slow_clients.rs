//! Clients that keep connections, bodies and answers waiting take nothing from the others: a process of its
//! own is attacked, for its memory and its places are its own.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Stdio,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    secrets::address,
    support::{
        PATIENCE, eventually, holds,
        process::{Process, Site},
    },
};

const TOKEN: &str = "a-token-for-writing-0123456789";
/// More than one address may have, by default.
const MANY: usize = 300;
const MIB: usize = 1_024 * 1_024;
/// The longest an answer may take beside an attack; it takes milliseconds.
const SOON: Duration = Duration::from_secs(15);
/// Source: RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LOGIN: &[u8] = b"POST /login HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\
                       content-length: 4000\r\n\r\ntoken=a";

/// A process that answers the API.
struct Attacked {
    site: Site,
    process: Process,
    address: String,
}

impl Attacked {
    async fn start() -> Self {
        let site = Site::new(&[50], &format!("api.tokens = [\"{TOKEN}\"]\n"));
        let log = fs::File::create(site.log()).expect("a log can be written");
        let process = site.start_as(&["run", "--role", "api"], Stdio::null(), log.into());
        let address = address(site.folder.path()).await.replace("http://", "");
        let attacked = Self { site, process, address };
        eventually(async || {
            let answer = attacked.ask("GET", "/readyz", b"");
            holds(answer == Some(200), format!("it does not get ready: {answer:?}"))
        })
        .await;
        attacked
    }

    /// A connection on which `bytes` were sent.
    fn connect(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        stream.set_write_timeout(Some(Duration::from_secs(1))).expect("it can be set");
        // It may have given way already.
        let _written = stream.write_all(bytes);
        stream
    }

    /// The status of the answer; `None`: there was none.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<u16> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
    }

    /// Everything is answered soon. `/readyz` may say no at first: the store's answer has two seconds,
    /// and the machine has the attack to carry.
    #[track_caller]
    fn is_there(&self, beside: &str) {
        for path in ["/healthz", "/readyz", "/v1/subscriptions", "/openapi.json", "/login"] {
            let begun = Instant::now();
            let mut answer = self.ask("GET", path, b"");
            while path == "/readyz" && answer == Some(503) && begun.elapsed() < SOON {
                answer = self.ask("GET", path, b"");
            }
            assert_eq!(answer, Some(200), "{path} beside {beside}");
            assert!(begun.elapsed() < SOON, "{path} beside {beside}: {:?}", begun.elapsed());
        }
    }

    fn post(&self, path: &str, length: usize, body: &[u8]) -> TcpStream {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        self.connect(&[head.as_bytes(), body].concat())
    }

    fn resident_mib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok());
        kib.expect("a number") / 1_024
    }
}

#[tokio::test]
async fn connections_that_send_little_or_nothing_do_not_keep_others_out() {
    let attacked = Attacked::start().await;
    for (what, bytes) in [
        ("one byte", &b"G"[..]),
        ("a preface without its last byte", &PREFACE[..23]),
        ("a preface", PREFACE),
        ("half a head", b"GET / HTTP/1.1\r\nhost: a\r\n"),
        ("half a login", LOGIN),
    ] {
        let held: Vec<_> = (0..MANY).map(|_| attacked.connect(bytes)).collect();
        attacked.is_there(what);
        drop(held);
    }
}

#[tokio::test]
async fn a_connection_without_a_whole_head_ends_in_seconds_whatever_it_speaks() {
    let attacked = Attacked::start().await;
    let begun = Instant::now();
    let half = b"GET / HTTP/1.1\r\nhost: a\r\n";
    let sent = [&b""[..], b"G", &PREFACE[..23], PREFACE, half];
    let mut held = sent.map(|bytes| attacked.connect(bytes));
    for (number, stream) in held.iter_mut().enumerate() {
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
        assert!((8..16).contains(&begun.elapsed().as_secs()), "{number}: {:?}", begun.elapsed());
    }
    // A byte now and then is no head either.
    let mut trickling = attacked.connect(b"GET / HTTP/1.1\r\n");
    let begun = Instant::now();
    while trickling.write_all(b"a: b\r\n").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(16), "it goes on for ever");
        // The pace of the trickle.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A frame of HTTP/2. Source: RFC 9113, 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A head of HTTP/2, nothing packed. Source: RFC 7541, 6.2.2.
fn head(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("it is short");
    let mut block = Vec::new();
    for (name, value) in fields {
        block.extend([0, length(name)]);
        block.extend(name.as_bytes());
        block.push(length(value));
        block.extend(value.as_bytes());
    }
    frame(1, 4, stream, &block)
}

#[tokio::test]
async fn bodies_of_the_login_are_small_however_many_there_are() {
    const LOGIN: [(&str, &str); 6] = [
        (":method", "POST"),
        (":path", "/login"),
        (":scheme", "http"),
        (":authority", "localhost"),
        ("origin", "http://localhost"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let attacked = Attacked::start().await;
    let before = attacked.resident_mib();
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = attacked.connect(&[PREFACE, &frame(4, 0, 0, b"")].concat());
        for number in 0..64 {
            stream.write_all(&head(2 * number + 1, &LOGIN)).expect("it reads heads");
        }
        held.push(stream);
    }
    // Of each login 255 KiB, as far as they are taken.
    let part = |number: u32| frame(0, 0, 2 * number + 1, &[b'a'; 8_160]);
    for _ in 0..32 {
        for stream in &mut held {
            let _taken = (0_u32..64).try_for_each(|number| stream.write_all(&part(number)));
        }
    }
    let grown = attacked.resident_mib().saturating_sub(before);
    assert!(grown < 48, "{grown} MiB for 160 MiB that no client requested");
    attacked.is_there("logins over HTTP/2");
}

#[tokio::test]
async fn bodies_that_are_not_finished_delay_neither_others_nor_metrics() {
    let attacked = Attacked::start().await;
    let batch = br#"{"events": [{"topic": "a.b", "body": 1}]}"#;
    let soon = |method: &str, path: &str, body: &[u8], beside: &str| {
        let begun = Instant::now();
        let answered = attacked.ask(method, path, body);
        assert!(begun.elapsed() < SOON, "{path} beside {beside}: {:?}", begun.elapsed());
        answered
    };
    let held: Vec<_> =
        (0..8).map(|_| attacked.post("/v1/batches", 8 * MIB, b"{\"events\": [")).collect();
    assert_eq!(soon("POST", "/v1/batches", batch, "batches"), Some(202));
    drop(held);
    let blanks = vec![b' '; 8 * MIB - 1_000];
    let held: Vec<_> = (0..9).map(|_| attacked.post("/v1/batches", 8 * MIB, &blanks)).collect();
    assert_eq!(soon("POST", "/v1/batches", batch, "large batches"), Some(202));
    assert!(attacked.resident_mib() < 300, "{} MiB", attacked.resident_mib());
    drop(held);
    let held: Vec<_> =
        (0..130).map(|_| attacked.post("/v1/events?topic=a.b", 100, b"abc")).collect();
    assert_eq!(soon("GET", "/metrics", b"", "publishes"), Some(200));
    assert_eq!(soon("POST", "/v1/events?topic=a.b", b"{}", "publishes"), Some(202));
    drop(held);
}

#[tokio::test]
async fn answers_that_are_not_read_do_not_keep_others_out_and_end() {
    let attacked = Attacked::start().await;
    let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(30);
    let held: Vec<_> = (0..MANY).map(|_| attacked.connect(request.as_bytes())).collect();
    attacked.is_there("answers that no client reads");
    assert!(attacked.resident_mib() < 200, "{} MiB", attacked.resident_mib());
    drop(held);
    let slow = attacked.connect(request.repeat(10).as_bytes());
    let port = slow.local_addr().expect("it is connected").port();
    let begun = Instant::now();
    // What is left in a buffer has as long as a connection between two requests.
    eventually(async || {
        holds(!is_established(&attacked.address, port), "the connection stays for ever")
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Goal: clients without a token cannot fill the disk with lines of the log. Method: HTTP/2 streams that are
/// reset as they are opened, until each connection is ended for it.
#[tokio::test]
async fn clients_that_break_a_protocol_write_no_lines_into_the_log() {
    /// `SETTINGS`, then for each stream `HEADERS` (`GET /`) and `RST_STREAM`.
    fn resets() -> Vec<u8> {
        let streams = (1..200_u8).step_by(2).flat_map(|stream| {
            let headers = [0, 0, 3, 1, 5, 0, 0, 0, stream, 0x82, 0x84, 0x86];
            let reset = [0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, 8];
            headers.into_iter().chain(reset)
        });
        [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat().into_iter().chain(streams).collect()
    }
    let attacked = Attacked::start().await;
    let lines = || fs::read_to_string(attacked.site.log()).expect("a log").lines().count();
    let before = lines();
    for bytes in [&resets()[..], b"\x16\x03\x01\x00\xa5", b"GET / HTTP/9\r\n\r\n"] {
        for _ in 0..20 {
            let mut rest = Vec::new();
            // What the server says; it may end the connection as it likes.
            let _ended = attacked.connect(bytes).read_to_end(&mut rest);
        }
    }
    assert_eq!(attacked.ask("GET", "/healthz", b""), Some(200));
    assert_eq!(lines(), before, "{}", fs::read_to_string(attacked.site.log()).expect("a log"));
}

/// True if the server still has the connection from `port`. Source: proc(5), `/proc/net/tcp`, state 01.
fn is_established(server: &str, port: u16) -> bool {
    let own = server.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let (own, peer) = (format!(":{:04X}", own.expect("a port")), format!(":{port:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").expect("it can be read");
    table.lines().skip(1).any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        matches!(fields[..], [_, local, remote, "01", ..] if local.ends_with(&own) && remote.ends_with(&peer))
    })
}

#[tokio::test]
async fn wrong_tokens_are_counted_logged_once_and_slowed_down() {
    let attacked = Attacked::start().await;
    let guess = |token: &str| {
        let head = format!(
            "GET /v1/subscriptions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        let mut answer = String::new();
        attacked.connect(head.as_bytes()).read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert_eq!(attacked.ask("GET", "/v1/subscriptions", b""), Some(200), "a right one");
    let statuses: Vec<_> = (0..60).map(|number| guess(&format!("guess-{number}"))).collect();
    let with = |status: &str| statuses.iter().filter(|answer| answer.contains(status)).count();
    assert!((20..40).contains(&with("401 Unauthorized")), "{}", with("401 Unauthorized"));
    assert_eq!(with("401 Unauthorized") + with("429 Too Many Requests"), 60);
    assert!(statuses.last().is_some_and(|answer| answer.contains("retry-after: ")));
    assert_eq!(attacked.ask("GET", "/v1/subscriptions", b""), Some(200), "a right one is known");
    let log = fs::read_to_string(attacked.site.log()).expect("a log");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("api.wrong_token")).collect();
    assert!(matches!(lines[..], [line] if line.contains("127.0.0.1")), "{lines:?}");
    let mut metrics = String::new();
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer \
         {TOKEN}\r\n\r\n"
    );
    attacked.connect(request.as_bytes()).read_to_string(&mut metrics).expect("an answer");
    assert!(metrics.contains("homing_api_wrong_tokens_total 60\n"), "{metrics}");
}
