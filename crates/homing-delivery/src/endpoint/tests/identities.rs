//! Client certificates, presented to servers that end the handshake because of them.

use std::{
    io::Write,
    sync::{Arc, LazyLock},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::{
    Attempted, Endpoints,
    samples::{delivery, event, local_settings, subscription},
    server::{Server, read_request},
    unreachable,
};
use crate::endpoint::rehearse;
use homing_domain::{
    outcome::{Obstacle, Outcome},
    time::UnixMillis,
};

/// Makes certificates of clients, and the server's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

static OURS: LazyLock<Authority> = LazyLock::new(|| Authority::new("ours"));

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key, in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A server that takes clients with a certificate of ours alone, over HTTP/1.1.
async fn asking(alpn: &[u8]) -> (Server, Endpoints) {
    let ours = CertificateDer::from_pem_slice(OURS.pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ours).unwrap();
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let (certificate, key) = OURS.issue("localhost");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            match acceptor.accept(stream).into_fallible().await {
                Ok(mut stream) => {
                    while read_request(&mut stream).await.is_some() {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        stream.write_all(answer).await.unwrap();
                    }
                }
                // Read to its end, so that the alert is not lost with a reset.
                Err((_refused, mut stream)) => {
                    drop(stream.shutdown().await);
                    drop(stream.read_to_end(&mut Vec::new()).await);
                }
            }
        }
    })
    .await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(OURS.pem.as_bytes()).unwrap();
    let mut settings = local_settings();
    settings.ca_file = file.path().to_str().unwrap().to_owned();
    (server, Endpoints::new(&settings).unwrap())
}

fn with((certificate, key): &(String, String)) -> Value {
    json!({"client_certificate": {"certificate": certificate, "key": key}})
}

async fn attempt(endpoints: &Endpoints, server: &Server, changes: &Value) -> Attempted {
    let url = format!("https://localhost:{}/hook", server.address.port());
    let subscription = subscription(&url, changes);
    let delivery = delivery(event(), &subscription);
    let now = UnixMillis::new(1_700_000_000_000);
    endpoints.attempt(&delivery, &subscription, now).await.unwrap()
}

#[tokio::test]
async fn a_handshake_that_ends_because_of_the_certificate_names_the_field() {
    const ATTEMPTS: usize = 20;
    let stranger = Authority::new("others").issue("homing");
    let no = "it does not accept the client certificate, or wants one: its authority";
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let (server, endpoints) = asking(alpn).await;
        for (changes, expected) in [
            (json!({}), "it wants a client certificate; give the subscription one"),
            (with(&stranger), no),
        ] {
            let attempts = (0..ATTEMPTS).map(|_| attempt(&endpoints, &server, &changes));
            for attempted in futures_util::future::join_all(attempts).await {
                assert_eq!(attempted.outcome, unreachable(Obstacle::Tls), "{:?}", attempted.cause);
                let cause = attempted.cause.unwrap();
                assert!(cause.contains(expected), "{cause}");
                assert!(cause.contains("`client_certificate`"), "{cause}");
            }
        }
        let connections = server.connections();
        assert!(connections <= 2 * (ATTEMPTS + 1), "{connections}: none is resent");
    }
}

#[tokio::test]
async fn each_certificate_has_connections_of_its_own_and_keeps_them() {
    let (server, endpoints) = asking(b"http/1.1").await;
    let (one, other) = (with(&OURS.issue("one")), with(&OURS.issue("other")));
    for _ in 0..3 {
        for changes in [&one, &other] {
            let attempted = attempt(&endpoints, &server, changes).await;
            assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 }, "{attempted:?}");
        }
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_key_of_another_certificate_is_refused_when_it_is_given() {
    let (one, other) = (OURS.issue("one"), OURS.issue("other"));
    let rehearsed = |pair| rehearse(&subscription("https://example.com/", &with(&pair)));
    assert_eq!(rehearsed(one.clone()), Ok(()));
    let error = rehearsed((one.0, other.1)).unwrap_err();
    insta::assert_snapshot!(error, @"`client_certificate.key`: is not that of the first certificate");
}
