//! Proxies to the outside: tinyproxy (HTTP CONNECT) and microsocks (SOCKS5), each a process of its
//! own that can be killed, started again, and stopped for a while.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use parking_lot::Mutex;
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{clients, eventually};

/// The user and the password that some of them ask for.
pub(crate) const LOGIN: &str = "homing:password";

/// The kind of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tinyproxy,
    Microsocks,
}

/// A proxy on loopback.
pub(crate) struct Egress {
    kind: Kind,
    pub port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    process: Mutex<Option<Child>>,
}

impl Egress {
    /// Starts one. With `login`, it asks for [`LOGIN`]. `further` are lines of tinyproxy's settings.
    pub(crate) async fn start(kind: Kind, login: bool, further: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let (user, password) = LOGIN.split_once(':').expect("both");
        let arguments = match kind {
            Kind::Tinyproxy => {
                let login =
                    if login { format!("BasicAuth {user} {password}\n") } else { String::new() };
                let file = folder.path().join("tinyproxy.conf");
                let settings = format!(
                    "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 1000\nLogLevel Connect\n\
                     {login}{further}"
                );
                fs::write(&file, settings).expect("the settings can be written");
                vec!["-d".to_owned(), "-c".to_owned(), file.display().to_string()]
            }
            Kind::Microsocks => {
                let mut arguments = format!("-i 127.0.0.1 -p {port}");
                if login {
                    arguments = format!("{arguments} -u {user} -P {password}");
                }
                arguments.split(' ').map(str::to_owned).collect()
            }
        };
        let egress = Self { kind, port, folder, arguments, process: Mutex::default() };
        egress.start_again().await;
        egress
    }

    /// Starts it at the same address.
    pub(crate) async fn start_again(&self) {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.log_file());
        let log = log.expect("a log can be written");
        let name = match self.kind {
            Kind::Tinyproxy => "tinyproxy",
            Kind::Microsocks => "microsocks",
        };
        let child = Command::new(clients().join(name))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor is free"))
            .stderr(log)
            .spawn()
            .expect("the proxy starts (tests/setup)");
        *self.process.lock() = Some(child);
        eventually(async || TcpStream::connect(("127.0.0.1", self.port)).await).await;
    }

    /// As a crash does.
    pub(crate) fn kill_9(&self) {
        let mut child = self.process.lock().take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// Lets it hang: the kernel takes connections for it, and it says nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.lock().as_ref().expect("it runs").id();
        let sent = Command::new("kill").arg(signal).arg(id.to_string()).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Its URL, with `login` (`user:password@`) or without.
    pub(crate) fn url(&self, login: &str) -> String {
        let scheme = match self.kind {
            Kind::Tinyproxy => "http",
            Kind::Microsocks => "socks5",
        };
        format!("{scheme}://{login}127.0.0.1:{}", self.port)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The text that it has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// True if it was asked for `host`, an address or a name with a port.
    pub(crate) fn was_asked_for(&self, host: &str) -> bool {
        let line = match self.kind {
            Kind::Tinyproxy => format!("CONNECT {host} "),
            Kind::Microsocks => format!("connected to {host}"),
        };
        self.log().lines().any(|logged| format!("{logged} ").contains(&line))
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        if let Some(child) = self.process.get_mut() {
            let _ended_already = child.kill();
            let _is_reaped = child.wait();
        }
    }
}

/// TLS in front of `behind`, with a certificate of `localhost`: the address, and the certificate in
/// PEM.
pub(crate) async fn over_tls(behind: u16) -> (SocketAddr, String, AbortOnDropHandle<()>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate can be made");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let serve = async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            open.spawn(async move {
                let mut client = acceptor.accept(stream).await.ok()?;
                let mut proxy = TcpStream::connect(("127.0.0.1", behind)).await.ok()?;
                tokio::io::copy_bidirectional(&mut client, &mut proxy).await.ok()
            });
        }
    };
    #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
    let serving = AbortOnDropHandle::new(tokio::spawn(serve));
    (address, made.cert.pem(), serving)
}
