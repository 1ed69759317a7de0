//! Real servers end their connections at any time; no delivery pays for that.

use std::{net::TcpListener, path::PathBuf, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::sleep,
};

use crate::support::{
    PATIENCE, broker::Raw, clients, eventually, holds, installation::Installation,
};

/// An nginx that gives up each HTTP/2 connection after a hundred requests, and writes for each
/// request its attempt, its protocol and the number of its connection.
struct Nginx {
    folder: TempDir,
    port: u16,
    _process: Child,
}

impl Nginx {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.expect("a certificate can be made");
        let path = folder.path().display();
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("it can be written");
        };
        write("cert.pem", made.cert.pem());
        write("key.pem", made.signing_key.serialize_pem());
        write(
            "nginx.conf",
            format!(
                "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\n\
                 log_format attempts '$http_x_homing_attempt $server_protocol $connection';\n\
                 access_log {path}/access.log attempts;\n\
                 client_body_temp_path {path}/b; proxy_temp_path {path}/p;\n\
                 fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
                 server {{\n\
                 listen 127.0.0.1:{port} ssl http2;\n\
                 ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;\n\
                 keepalive_requests 100;\n\
                 location / {{ return 200 ok; }}\n\
                 }}\n\
                 }}\n"
            ),
        );
        let own = clients().join("nginx");
        let program = if own.exists() { own } else { PathBuf::from("/usr/sbin/nginx") };
        let process = Command::new(program)
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx starts (tests/setup)");
        eventually(async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await).await;
        Self { folder, port, _process: process }
    }

    /// The lines of its log.
    fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("access.log"));
        log.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// Goal: the end of an HTTP/2 connection is no attempt (GOAWAY). Method: as many events as end a
/// connection ten times, many at once; nginx itself says which attempt each request was.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_ends_its_connections_and_no_attempt_is_charged() {
    const EVENTS: usize = 1_000;
    let nginx = Nginx::start().await;
    let ca_file = nginx.folder.path().join("cert.pem");
    let settings = format!("endpoint.ca_file = \"{}\"", ca_file.display());
    let installation = Installation::with(&[200], &settings).await;
    installation.subscribe_all(&format!("https://localhost:{}/hook", nginx.port)).await;
    for number in 0..EVENTS {
        installation.publisher.publish(Raw::new("t", &format!("event-{number}"), "{}")).await;
    }
    let running = installation.start();
    eventually(async || {
        let requests = nginx.requests().len();
        holds(requests >= EVENTS, format!("{requests} of {EVENTS} requests"))
    })
    .await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let requests = nginx.requests();
    let mut connections: Vec<_> = requests
        .iter()
        .map(|line| line.strip_prefix("1 HTTP/2.0 ").expect("a first attempt over HTTP/2"))
        .collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(requests.len(), EVENTS);
    assert!(connections.len() >= 10, "{}", connections.len());
    assert!(installation.wait_for_parked(0).await.is_empty());
}

const NODE: &str = "
const server = require('http').createServer((request, response) => {
  console.log('attempt ' + request.headers['x-homing-attempt']);
  request.resume();
  response.setHeader('connection', 'keep-alive');  // without a word on how long
  request.on('end', () => response.end('ok'));
});
server.keepAliveTimeout = 500;
server.keepAliveTimeoutBuffer = 0;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("in time");
    line.expect("it can be read").expect("Node still runs")
}

/// Goal: a server that ends idle connections costs no attempt. Method: plain Node, and an event just
/// when it ends the connection of the one before.
#[tokio::test]
async fn node_ends_idle_connections_and_no_attempt_is_charged() {
    let mut node = Command::new("node")
        .args(["-e", NODE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Node.js starts (tests/setup)");
    let mut lines = BufReader::new(node.stdout.take().expect("it is piped")).lines();
    let port = line(&mut lines).await;
    let installation = Installation::new(&[200]).await;
    installation.subscribe_all(&format!("http://127.0.0.1:{port}/")).await;
    let running = installation.start();
    for number in 0..12 {
        installation.publisher.publish(Raw::new("t", &format!("event-{number}"), "{}")).await;
        assert_eq!(line(&mut lines).await, "attempt 1");
        // Node ends the connection after half a second.
        sleep(Duration::from_millis(497 + number)).await;
    }
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert!(installation.wait_for_parked(0).await.is_empty());
}
