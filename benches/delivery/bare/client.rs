//! The HTTP clients of the bare loop: reqwest, and hyper with nothing but a stack of connections.

use std::{error::Error, path::PathBuf, sync::Arc};

use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http1::{SendRequest, handshake},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use reqwest::Url;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

type Failed = Box<dyn Error + Send + Sync>;

/// The library that posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Library {
    /// reqwest, as most programs use it.
    Reqwest,
    /// hyper's connections: the least that a request can cost with the library that homing has.
    Hyper,
}

impl Library {
    /// For rows of the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reqwest => "reqwest",
            Self::Hyper => "hyper",
        }
    }
}

/// Posts events.
pub(super) enum Client {
    Reqwest(reqwest::Client),
    Hyper(Hyper),
}

impl Client {
    /// Trusts the authority in `ca` (PEM), if there is one.
    pub(super) fn new(library: Library, ca: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        match library {
            Library::Reqwest => {
                let mut client = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
                if let Some(ca) = ca {
                    let ca = reqwest::Certificate::from_pem(&std::fs::read(ca)?)?;
                    client = client.tls_certs_only([ca]);
                }
                Ok(Self::Reqwest(client.build()?))
            }
            Library::Hyper => Ok(Self::Hyper(Hyper::new(ca)?)),
        }
    }

    /// Posts `body`, and reads the whole answer. Returns true if it is a success.
    pub(super) async fn post(&self, url: &Url, body: Bytes) -> Result<bool, Failed> {
        match self {
            Self::Reqwest(client) => {
                let response = client.post(url.clone()).body(body).send().await?;
                let accepted = response.status().is_success();
                response.bytes().await?;
                Ok(accepted)
            }
            Self::Hyper(client) => client.post(url, body).await,
        }
    }
}

/// hyper's HTTP/1.1 connections to one host. The last one used is the first to be reused; none is
/// ever too old.
pub(super) struct Hyper {
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    tls: TlsConnector,
}

impl Hyper {
    fn new(ca: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        let mut roots = RootCertStore::empty();
        if let Some(ca) = ca {
            roots.add(CertificateDer::from_pem_file(ca)?)?;
        }
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { idle: Mutex::default(), tls: Arc::new(tls).into() })
    }

    async fn post(&self, url: &Url, body: Bytes) -> Result<bool, Failed> {
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect(url).await?,
        };
        let request = Request::post(url.path()).header(HOST, url.authority());
        let response = connection.send_request(request.body(Full::new(body))?).await?;
        let accepted = response.status().is_success();
        response.into_body().collect().await?;
        connection.ready().await?;
        self.idle.lock().push(connection);
        Ok(accepted)
    }

    async fn connect(&self, url: &Url) -> Result<SendRequest<Full<Bytes>>, Failed> {
        let address = url.socket_addrs(|| None)?;
        let stream = TcpStream::connect(address.as_slice()).await?;
        stream.set_nodelay(true)?;
        if url.scheme() == "http" {
            return over(stream).await;
        }
        let name = ServerName::try_from(url.host_str().unwrap_or_default().to_owned())?;
        over(self.tls.connect(name, stream).await?).await
    }
}

/// Opens a connection over `stream`, with a task that drives it.
async fn over<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Failed>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
