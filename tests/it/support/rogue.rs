//! An endpoint that does not speak HTTP as it should: it resets, stalls, sends garbage.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// Its reaction to a request that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// 200
    Accepts,
    /// RST, before a byte of an answer.
    Resets,
    /// FIN, before a byte of an answer.
    Closes,
    /// RST, in the middle of the headers of a refusal.
    ResetsInHeaders,
    /// Headers of a success, and then nothing.
    StallsAfterHeaders,
    /// Bytes that are no HTTP.
    Garbage,
    /// A refusal with a header that never ends.
    EndlessHeader,
    /// A refusal whose body never ends.
    EndlessBody,
}

impl Manner {
    /// All but the good one.
    pub(crate) const BAD: [Self; 7] = [
        Self::Resets,
        Self::Closes,
        Self::ResetsInHeaders,
        Self::StallsAfterHeaders,
        Self::Garbage,
        Self::EndlessHeader,
        Self::EndlessBody,
    ];
}

/// A request as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub attempt: u32,
    pub body: Vec<u8>,
    pub accepted: bool,
}

type Script = dyn Fn(&Seen) -> Manner + Send + Sync;

/// Listens on loopback until dropped.
pub(crate) struct Rogue {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Rogue {
    pub(crate) async fn behaving(script: impl Fn(&Seen) -> Manner + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let seen = Arc::default();
        let (recording, script): (_, Arc<Script>) = (Arc::clone(&seen), Arc::new(script));
        let serving = async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(connection, Arc::clone(&recording), Arc::clone(&script)));
            }
        };
        #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
        let serving = AbortOnDropHandle::new(tokio::spawn(serving));
        Self { address, seen, _serving: serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

/// One request, then the end of the connection.
async fn serve(mut connection: TcpStream, recording: Arc<Mutex<Vec<Seen>>>, script: Arc<Script>) {
    let Some(mut seen) = read(&mut connection).await else { return };
    let manner = script(&seen);
    seen.accepted = manner == Manner::Accepts;
    recording.lock().push(seen);
    // The client may be gone by then; that is its right.
    let _sent = behave(connection, manner).await;
}

async fn behave(mut connection: TcpStream, manner: Manner) -> std::io::Result<()> {
    const HEADERS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
    match manner {
        Manner::Accepts => {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            connection.write_all(answer).await?;
            connection.shutdown().await
        }
        Manner::Closes => Ok(()),
        Manner::Resets => connection.set_zero_linger(),
        Manner::ResetsInHeaders => {
            connection.write_all(b"HTTP/1.1 500 Down\r\nconte").await?;
            connection.set_zero_linger()
        }
        Manner::StallsAfterHeaders => {
            connection.write_all(HEADERS).await?;
            // Longer than any deadline for an attempt.
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        }
        Manner::Garbage => connection.write_all(&[0xff, 0x00, b'\r', b'\n', 0x7f, b'\n']).await,
        Manner::EndlessHeader => {
            connection.write_all(b"HTTP/1.1 500 Down\r\nx-endless: ").await?;
            endless(connection).await
        }
        Manner::EndlessBody => {
            connection.write_all(b"HTTP/1.1 500 Down\r\n\r\n").await?;
            endless(connection).await
        }
    }
}

async fn endless(mut connection: TcpStream) -> std::io::Result<()> {
    loop {
        connection.write_all(&[b'x'; 4_096]).await?;
    }
}

async fn read(connection: &mut TcpStream) -> Option<Seen> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else { continue };
        let head = String::from_utf8_lossy(bytes.get(..end)?).to_lowercase();
        let headers: HashMap<_, _> =
            head.lines().filter_map(|line| line.split_once(": ")).collect();
        let length: usize = headers.get("content-length")?.parse().ok()?;
        let body = bytes.get(end + END.len()..)?;
        if body.len() >= length {
            let attempt = headers.get("x-homing-attempt")?.parse().ok()?;
            return Some(Seen { attempt, body: body.to_vec(), accepted: false });
        }
    }
}
