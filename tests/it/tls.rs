//! TLS to the broker, as brokers are really set up: their own authority, certificates of clients, and
//! logins that change while homing runs.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::PathBuf};

use homing::config::Settings;
use homing_broker::{Broker, error::BrokerError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::{NamedTempFile, TempDir};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{
    authority::Authority,
    broker::{Corner, url},
    eventually, holds,
    node::Node,
};

/// A broker with TLS, and the files for both sides.
struct Secured {
    node: Node,
    port: u16,
    folder: TempDir,
}

impl Secured {
    /// Refuses clients without a certificate of its authority; takes the name in it for a user.
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        drop(listener);
        let (ours, others) = (Authority::new("ours"), Authority::new("others"));
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("it can be written");
        };
        write("ca.pem", &ours.pem);
        write("other-ca.pem", &others.pem);
        let issuers = [("server", &ours, "broker.test"), ("client", &ours, "homing-worker")];
        let issuers = issuers.into_iter().chain([("stranger", &others, "homing-worker")]);
        for (file, authority, name) in issuers {
            let (certificate, key) = authority.issue(name);
            write(&format!("{file}.pem"), &certificate);
            write(&format!("{file}.key"), &key);
        }
        let shown = folder.path().display();
        let config = format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\n\
             ssl_options.cacertfile = {shown}/ca.pem\n\
             ssl_options.certfile = {shown}/server.pem\n\
             ssl_options.keyfile = {shown}/server.key\n\
             ssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = true\n\
             auth_mechanisms.1 = PLAIN\n\
             auth_mechanisms.2 = EXTERNAL\n\
             ssl_cert_login_from = common_name\n"
        );
        write("further.conf", &config);
        let further = folder.path().join("further.conf").display().to_string();
        let plugins = "rabbitmq_auth_mechanism_ssl".to_owned();
        let variables = vec![("HOMING_BROKER_CONFIG", further), ("HOMING_BROKER_PLUGINS", plugins)];
        let node = Node::start_with("tls", variables).await;
        node.ctl(&["add_user", "homing-worker", "p"]).await;
        node.ctl(&["set_permissions", "homing-worker", ".*", ".*", ".*"]).await;
        Self { node, port, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The settings `ca_file` and of the client certificate called so.
    fn files(&self, ca: &str, client: Option<&str>) -> String {
        let ca = format!("ca_file = \"{}\"\n", self.file(ca).display());
        let client = client.map(|client| {
            let path = self.file(client).display().to_string();
            format!("client_certificate_file = \"{path}.pem\"\nclient_key_file = \"{path}.key\"\n")
        });
        ca + &client.unwrap_or_default()
    }

    fn url(&self, login: &str, parameters: &str) -> String {
        let port = self.port;
        let name = "server_name_indication=broker.test";
        format!("url = \"amqps://{login}127.0.0.1:{port}/?{name}{parameters}\"\n")
    }
}

/// Connects as `toml` says; closes again.
async fn connect(toml: &str) -> Result<Broker, BrokerError> {
    let settings = Settings::from_toml(&format!("[broker]\nnew_queue_wait = \"0s\"\n{toml}"));
    let settings = settings.expect("the settings make sense");
    let corner = Corner::at("amqp://of-the-test/".to_owned(), &[]);
    let broker = Broker::passive(&settings.broker, corner.topology.clone()).expect("files");
    broker.connect_to_publish().await.map(|()| broker)
}

async fn refusal(toml: &str) -> String {
    connect(toml).await.map(|_connected| ()).expect_err(toml).report()
}

/// Goal: what is wrong with TLS is said in words, with what to do. What is right connects: an authority of
/// one's own, a client certificate, and a login by that certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_an_authority_of_its_own_and_certificates_of_clients_is_connected_to() {
    let secured = Secured::start().await;
    let guest = secured.url("guest:guest@", "");

    for (client, ca, advice) in [
        (Some("client"), "other-ca.pem", "name that authority in `broker.ca_file`"),
        (None, "ca.pem", "`broker.client_certificate_file`"),
        (Some("stranger"), "ca.pem", "`broker.client_certificate_file`"),
    ] {
        let error = refusal(&(guest.clone() + &secured.files(ca, client))).await;
        assert!(error.contains(advice) && !error.contains("and that it runs"), "{error}");
    }
    let unencrypted = guest.replace("amqps://", "amqp://");
    let unencrypted = unencrypted.replace("?server_name_indication=broker.test", "");
    let error = refusal(&unencrypted).await;
    assert!(error.contains("it may expect TLS (amqps://)"), "{error}");
    let by_address = guest.replace("server_name_indication=broker.test", "");
    let right = secured.files("ca.pem", Some("client"));
    let error = refusal(&(by_address + &right)).await;
    assert!(error.contains("its certificate is for another name"), "{error}");
    let plain =
        guest.replace(&secured.port.to_string(), secured.node.url.rsplit(':').next().unwrap());
    let error = refusal(&(plain + &right)).await;
    assert!(error.contains("no TLS is spoken at this port"), "{error}");

    connect(&(guest + &right)).await.expect("all is right").close().await;
    let files = format!(
        "&cacertfile={}&certfile={}&keyfile={}",
        secured.file("ca.pem").display(),
        secured.file("client.pem").display(),
        secured.file("client.key").display()
    );
    connect(&secured.url("guest:guest@", &files)).await.expect("named in the URL").close().await;
    let external = secured.url("", "&auth_mechanism=external");
    let broker = connect(&(external + &right)).await.expect("the certificate names a user");
    let users = secured.node.ctl(&["-q", "list_connections", "user", "--no-table-headers"]).await;
    assert!(users.contains("homing-worker"), "{users}");
    broker.close().await;
}

/// A broker with a certificate that signs itself, as `openssl req -x509` makes it: port and PEM. Ends
/// with the handle.
async fn signing_itself() -> (u16, String, AbortOnDropHandle<()>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("the key fits");
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let relaying = async move {
        let mut relays = tokio::task::JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            relays.spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let address = url().rsplit('@').next().expect("a URL has a host").to_owned();
                let mut broker = tokio::net::TcpStream::connect(address).await?;
                tokio::io::copy_bidirectional(&mut client, &mut broker).await
            });
        }
    };
    #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
    let relaying = AbortOnDropHandle::new(tokio::spawn(relaying));
    (port, certificate.pem(), relaying)
}

/// Goal: the broker's own certificate is enough as `broker.ca_file`, as it is for endpoints; for no other
/// name, and no other certificate.
#[tokio::test]
async fn a_broker_whose_certificate_signs_itself_is_trusted_by_that_certificate() {
    let (port, pem, _relaying) = signing_itself().await;
    let file = |pem: &str| {
        let file = NamedTempFile::new().expect("a file");
        fs::write(file.path(), pem).expect("ours");
        file
    };
    let (own, other) = (file(&pem), file(&Authority::new("others").pem));
    let toml = |host: &str, file: &NamedTempFile| {
        let ca = file.path().display();
        format!("url = \"amqps://guest:guest@{host}:{port}\"\nca_file = \"{ca}\"\n")
    };

    connect(&toml("localhost", &own)).await.expect("it is trusted").close().await;

    let error = refusal(&toml("localhost", &other)).await;
    assert!(error.contains("name that very certificate in `broker.ca_file`"), "{error}");
    let error = refusal(&toml("127.0.0.1", &own)).await;
    assert!(error.contains("its certificate is for another name"), "{error}");
}

/// Goal: a file that does not answer is named with its setting, within seconds. Method: a FIFO
/// without a writer.
#[test]
fn a_file_that_does_not_answer_is_named_with_its_setting() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("ca.pem");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("coreutils");
    assert!(made.success());
    let toml = format!(
        "[broker]\nurl = \"amqps://guest:guest@localhost\"\nca_file = \"{}\"\n",
        fifo.display()
    );
    let settings = Settings::from_toml(&toml).expect("the settings make sense");
    let corner = Corner::at("amqp://of-the-test/".to_owned(), &[]);

    let refused = Broker::passive(&settings.broker, corner.topology.clone());

    let error = refused.err().expect("it does not answer").to_string();
    let read = format!("`broker.ca_file`: cannot read certificates from {}", fifo.display());
    assert_eq!(error, read + ": it does not answer within 5 s");
    // Who opens it ends the thread that waits.
    drop(fs::OpenOptions::new().write(true).open(&fifo).expect("it is read"));
}

/// Goal: a password or token that is replaced in `broker.url_file` is used for the next connection.
#[tokio::test]
async fn a_login_that_changes_on_disk_is_used_for_the_next_connection() {
    let node = Node::start("rotated").await;
    node.ctl(&["add_user", "u", "first"]).await;
    node.ctl(&["set_permissions", "u", ".*", ".*", ".*"]).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let address = node.url.rsplit('@').next().expect("a URL has a host");
    let write = |password: &str| {
        fs::write(file.path(), format!("amqp://u:{password}@{address}/\n")).expect("ours");
    };
    write("first");
    let toml = format!("url_file = \"{}\"", file.path().display());
    let broker = connect(&toml).await.expect("the login is right");

    node.ctl(&["change_password", "u", "second"]).await;
    node.ctl(&["close_all_connections", "--global", "rotated"]).await;
    // The end of the connection is noticed a moment later.
    eventually(async || {
        let connected = broker.connect_to_publish().await;
        holds(connected.is_err(), "the old password is still accepted")
    })
    .await;
    write("second");
    broker.connect_to_publish().await.expect("the new password is used");
    broker.close().await;
}

/// Goal: a token that is replaced before it expires reaches the broker over the connections that there
/// are. Method: a broker that keeps users itself takes any; the log says that it was given.
#[tokio::test]
async fn a_token_that_is_replaced_is_given_to_the_broker_over_the_same_connections() {
    let site = crate::support::process::Site::new(&[], "");
    let file = site.folder.path().join("broker-url");
    let write = |password: &str| {
        let url = site.corner.url.replace(":guest@", &format!(":{password}@"));
        fs::write(&file, url).expect("ours");
    };
    write("guest");
    site.run(&["topology", "apply"]);
    let setting = format!("broker.url_file={}", file.display());
    let _worker = site.spawn(site.command(&["run", "--role", "worker", "--set", &setting]));
    site.wait_for_consumers(1).await;

    write("the-next-token");

    eventually(async || {
        let log = fs::read_to_string(site.log()).expect("a log");
        assert!(!log.contains("connection_lost"), "{log}");
        // Publishing, two lanes, and what looks and listens.
        holds(log.matches("broker.login_renewed").count() == 4, log)
    })
    .await;
}
