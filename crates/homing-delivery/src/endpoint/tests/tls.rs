//! TLS and HTTP/2.

use std::{io::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Attempted, Endpoints, attempt, endpoints,
    samples::{impatient, local_settings},
    server::{Server, read_request},
    timed_out, unreachable,
};
use homing_domain::outcome::{Obstacle, Outcome, Phase};

/// A certificate for `localhost` that signs itself, as the server holds it and as PEM.
fn certificate(alpn: &[u8], is_ca: IsCa) -> (TlsAcceptor, String) {
    let signing_key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.is_ca = is_ca;
    let made = parameters.self_signed(&signing_key).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    (Arc::new(config).into(), made.pem())
}

/// A server that trusts no client certificates and does `behave` after the handshake, and endpoints
/// that trust it.
pub(super) async fn secured<F>(
    alpn: &[u8],
    behave: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> (Server, Endpoints)
where
    F: Future<Output = ()> + Send + 'static,
{
    secured_by(certificate(alpn, IsCa::NoCa), behave).await
}

async fn secured_by<F>(
    (acceptor, pem): (TlsAcceptor, String),
    behave: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> (Server, Endpoints)
where
    F: Future<Output = ()> + Send + 'static,
{
    let server = Server::start(move |stream| {
        let (acceptor, behave) = (acceptor.clone(), behave.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                behave(stream).await;
            }
        }
    })
    .await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let mut settings = local_settings();
    settings.ca_file = file.path().to_str().unwrap().to_owned();
    (server, Endpoints::new(&settings).unwrap())
}

pub(super) async fn attempt_by_name(endpoints: &Endpoints, server: &Server) -> Attempted {
    attempt(endpoints, &format!("https://localhost:{}/hook", server.address.port())).await
}

async fn answer_http1(mut stream: TlsStream<TcpStream>) {
    while read_request(&mut stream).await.is_some() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
    }
}

/// Answers each HTTP/2 request with its own body.
async fn echo_http2(stream: TlsStream<TcpStream>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut answering = tokio::task::JoinSet::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        answering.spawn(async move {
            let mut body = request.into_body();
            let mut response = respond.send_response(hyper::Response::new(()), false).unwrap();
            while let Some(Ok(chunk)) = body.data().await {
                body.flow_control().release_capacity(chunk.len()).unwrap();
                response.send_data(chunk, false).unwrap();
            }
            response.send_data(Bytes::new(), true).unwrap();
        });
    }
}

async fn send_for_ever(mut body: h2::SendStream<Bytes>) {
    while body.send_data(Bytes::from_static(&[b'x'; 1_024]), false).is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_authority_of_the_settings_is_trusted() {
    let (server, trusting) = secured(b"http/1.1", answer_http1).await;
    let attempted = attempt_by_name(&trusting, &server).await;
    assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 });
    assert_eq!(attempted.response, "ok");
}

/// The result of `openssl req -x509`: an authority's certificate that signs itself.
#[tokio::test]
async fn a_certificate_of_the_settings_is_trusted_as_a_servers_own() {
    let made = certificate(b"http/1.1", IsCa::Ca(BasicConstraints::Unconstrained));
    let (server, trusting) = secured_by(made, answer_http1).await;
    let attempted = attempt_by_name(&trusting, &server).await;
    assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 }, "{:?}", attempted.cause);

    // Only for its name, and only by endpoints that were configured to trust it.
    let url = format!("https://{}/", server.address);
    let attempted = attempt(&trusting, &url).await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::Tls));
    assert_eq!(attempted.cause.as_deref(), Some("its certificate is for another name (localhost)"));
    let attempted = attempt_by_name(&endpoints(), &server).await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::Tls));
    assert_eq!(
        attempted.cause.as_deref(),
        Some("its certificate is not accepted: ca used as end entity")
    );
}

#[tokio::test]
async fn any_other_authority_is_not() {
    let (server, _) = secured(b"http/1.1", answer_http1).await;
    let attempted = attempt_by_name(&endpoints(), &server).await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::Tls));
    let cause = attempted.cause.unwrap();
    assert!(cause.contains("certificate"), "{cause}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_accepted() {
    let (server, trusting) = secured(b"http/1.1", answer_http1).await;
    let url = format!("https://{}/", server.address);
    assert_eq!(attempt(&trusting, &url).await.outcome, unreachable(Obstacle::Tls));
}

#[tokio::test]
async fn http2_is_spoken_where_the_endpoint_offers_it() {
    let (server, trusting) = secured(b"h2", echo_http2).await;
    for _ in 0..3 {
        let attempted = attempt_by_name(&trusting, &server).await;
        assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 });
        assert_eq!(attempted.response, super::event().body);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_is_a_lost_connection() {
    let (server, trusting) = secured(b"h2", |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    })
    .await;
    let attempted = attempt_by_name(&trusting, &server).await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::ConnectionLost));
}

/// Goal: over HTTP/2, too, an endless body is abandoned at the bound, while the connection lives.
/// Method: the server sends what its window allows until the stream is reset.
#[tokio::test]
async fn an_endless_http2_body_costs_a_stream_and_no_connection() {
    let (server, trusting) = secured(b"h2", |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut sending = tokio::task::JoinSet::new();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let body = respond.send_response(hyper::Response::new(()), false).unwrap();
            sending.spawn(send_for_ever(body));
        }
    })
    .await;
    for _ in 0..2 {
        let attempted = attempt_by_name(&trusting, &server).await;
        assert_eq!(attempted.outcome, Outcome::Accepted { status: 200 });
        assert_eq!(attempted.response.len(), local_settings().max_response_bytes);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn garbage_in_place_of_http2_is_not_http() {
    let (server, trusting) = secured(b"h2", |mut stream| async move {
        stream.write_all(&[0xff; 64]).await.unwrap();
        while read_request(&mut stream).await.is_some() {}
    })
    .await;
    let attempted = attempt_by_name(&trusting, &server).await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::NotHttp), "{:?}", attempted.cause);
}

#[tokio::test]
async fn a_port_without_tls_fails_the_handshake() {
    let server = Server::start(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        read_request(&mut stream).await;
    })
    .await;
    let attempted = attempt_by_name(&endpoints(), &server).await;
    assert_eq!(attempted.outcome, unreachable(Obstacle::Tls));
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_at_the_connect_deadline() {
    let server = Server::answering("").await;
    let attempted =
        attempt_by_name(&impatient(Duration::from_secs(5), Duration::from_millis(200)), &server)
            .await;
    assert_eq!(attempted.outcome, timed_out(Phase::Connect));
}
