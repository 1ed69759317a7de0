//! SOCKS, version 5: asks for a connection, with user and password if there are some.
//!
//! Written here because clients that exist report a reply as text or end the program at a reply that
//! they do not know, and the reply decides who is charged.
//!
//! Source: RFC 1928, RFC 1929.

use std::{io, net::SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    Target,
    error::{Fault, ProxyError},
};

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const WITH_LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Agrees upon a method and logs in: the proxy does that by itself, whatever host follows.
pub(super) async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    login: Option<&(String, String)>,
) -> Result<(), ProxyError> {
    let methods: &[u8] = if login.is_some() { &[NO_LOGIN, WITH_LOGIN] } else { &[NO_LOGIN] };
    send(stream, &[&[VERSION], &[length(methods)], methods]).await?;
    let [version, method] = receive(stream).await?;
    if version != VERSION {
        return Err(ProxyError::Protocol("it does not speak SOCKS5".to_owned()));
    }
    match (method, login) {
        (NO_LOGIN, _) => Ok(()),
        (WITH_LOGIN, Some((user, password))) => {
            let (user, password) = (user.as_bytes(), password.as_bytes());
            let parts = [&[LOGIN_VERSION, length(user)], user, &[length(password)], password];
            send(stream, &parts).await?;
            let [_, status] = receive(stream).await?;
            if status == 0 { Ok(()) } else { Err(ProxyError::Login(format!("status {status}"))) }
        }
        (NO_METHOD, Some(_)) => Err(ProxyError::Login("no method".to_owned())),
        (NO_METHOD, None) => Err(ProxyError::Login("it wants some".to_owned())),
        (method, _) => Err(ProxyError::Protocol(format!("it wants the SOCKS5 method {method}"))),
    }
}

/// Asks for a connection to `target`, over a stream that was greeted.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Target,
) -> Result<(), ProxyError> {
    let head = [VERSION, CONNECT, 0];
    let port = target.port().to_be_bytes();
    match target {
        Target::Address(SocketAddr::V4(address)) => {
            send(stream, &[&head, &[IPV4], &address.ip().octets(), &port]).await?;
        }
        Target::Address(SocketAddr::V6(address)) => {
            send(stream, &[&head, &[IPV6], &address.ip().octets(), &port]).await?;
        }
        Target::Name(name, _) => {
            let name = name.as_bytes();
            send(stream, &[&head, &[NAME, length(name)], name, &port]).await?;
        }
    }
    let [version, reply, _reserved, kind] = receive(stream).await?;
    if version != VERSION {
        return Err(ProxyError::Protocol("it does not speak SOCKS5".to_owned()));
    }
    judge(reply)?;
    // The address that it connects from, of which nothing is made.
    let bytes = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let [length] = receive(stream).await?;
            usize::from(length)
        }
        _ => return Err(ProxyError::Protocol("its reply has no address".to_owned())),
    };
    let mut rest = vec![0; bytes.saturating_add(port.len())];
    stream.read_exact(&mut rest).await.map(drop).map_err(|error| ended(&error))
}

fn judge(reply: u8) -> Result<(), ProxyError> {
    let target = |said: &str, fault| {
        let said = format!("{said} (SOCKS5 reply {reply})");
        Err(ProxyError::Target { said, fault })
    };
    let refused = |said: &str| Err(ProxyError::Refused(format!("{said} (SOCKS5 reply {reply})")));
    match reply {
        0 => Ok(()),
        2 => refused("its rules do not allow it"),
        3 => target("network unreachable", Fault::NoRoute),
        4 => target("host unreachable", Fault::NoRoute),
        5 => target("connection refused", Fault::Refused),
        6 => target("no answer in time", Fault::TimedOut),
        7 => refused("it makes no connections"),
        8 => refused("it does not know this kind of address"),
        reply => Err(ProxyError::Failed(format!("SOCKS5 reply {reply}"))),
    }
}

/// Of what has at most 255 bytes: settings and host names are checked.
fn length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).unwrap_or(u8::MAX)
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), parts: &[&[u8]]) -> Result<(), ProxyError> {
    let message = parts.concat();
    stream.write_all(&message).await.map_err(|error| ended(&error))?;
    stream.flush().await.map_err(|error| ended(&error))
}

async fn receive<const N: usize>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|error| ended(&error))?;
    Ok(bytes)
}

fn ended(error: &io::Error) -> ProxyError {
    let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
    ProxyError::Failed(if is_end { "it ends the connection".to_owned() } else { error.to_string() })
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// The result of asking a proxy that answers with `answers`, and what it was sent.
    async fn asked(
        answers: &[u8],
        login: Option<(&str, &str)>,
        target: Target,
    ) -> (Result<(), ProxyError>, Vec<u8>) {
        let (mut ours, mut theirs) = duplex(1_024);
        theirs.write_all(answers).await.unwrap();
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let result = async {
            greet(&mut ours, login.as_ref()).await?;
            ask(&mut ours, &target).await
        };
        // What does not come in time never comes.
        let result = tokio::time::timeout(std::time::Duration::from_secs(1), async {
            theirs.shutdown().await.unwrap();
            result.await
        });
        let result = result.await.unwrap();
        drop(ours);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        (result, sent)
    }

    fn address(text: &str) -> Target {
        Target::Address(text.parse().unwrap())
    }

    #[tokio::test]
    async fn an_address_or_a_name_is_asked_for() {
        const FINE: [u8; 12] = [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let (result, sent) = asked(&FINE, None, address("192.0.2.1:443")).await;
        result.unwrap();
        assert_eq!(sent, [5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 1, 1, 187]);
        let (result, sent) = asked(&FINE, None, Target::Name("a.b".to_owned(), 80)).await;
        result.unwrap();
        assert_eq!(sent[3..], [5, 1, 0, 3, 3, b'a', b'.', b'b', 0, 80]);
        let named = [5, 0, 5, 0, 0, 3, 2, b'x', b'y', 0, 0];
        let (result, sent) = asked(&named, None, address("[2001:db8::1]:1")).await;
        result.unwrap();
        assert_eq!((sent[6], sent.len()), (4, 3 + 4 + 16 + 2));
    }

    #[tokio::test]
    async fn user_and_password_are_sent_where_they_are_wanted() {
        let login = Some(("u", "pw"));
        let fine = [5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let (result, sent) = asked(&fine, login, address("192.0.2.1:1")).await;
        result.unwrap();
        assert_eq!(sent[..10], [5, 2, 0, 2, 1, 1, b'u', 2, b'p', b'w']);
        for (answers, login) in
            [(&[5, 2, 1, 1][..], login), (&[5, 0xff][..], login), (&[5, 0xff][..], None)]
        {
            let (result, _) = asked(answers, login, address("192.0.2.1:1")).await;
            assert!(matches!(result, Err(ProxyError::Login(_))), "{result:?}");
        }
    }

    #[tokio::test]
    async fn each_reply_is_charged_to_the_one_at_fault() {
        let mut said = Vec::new();
        for reply in 1..=9 {
            let answers = [5, 0, 5, reply, 0, 1, 0, 0, 0, 0, 0, 0];
            let (result, _) = asked(&answers, None, address("192.0.2.1:1")).await;
            said.push(match result.unwrap_err() {
                ProxyError::Failed(_) => "proxy",
                ProxyError::Refused(_) => "rules",
                ProxyError::Target { .. } => "endpoint",
                other @ (ProxyError::Unreachable(_)
                | ProxyError::Silent
                | ProxyError::Login(_)
                | ProxyError::Protocol(_)
                | ProxyError::Down(_)
                | ProxyError::SpeaksFirst) => panic!("{other:?}"),
            });
        }
        let expected = ["proxy", "rules", "endpoint", "endpoint", "endpoint", "endpoint"];
        assert_eq!(said[..6], expected);
        assert_eq!(said[6..], ["rules", "rules", "proxy"]);
    }

    #[tokio::test]
    async fn what_is_no_socks_proxy_is_recognised() {
        for (answers, expected) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "SOCKS5"),
            (b"", "ends the connection"),
            (&[5, 0, 5], "ends the connection"),
            (&[5, 0, 4, 0, 0, 1], "SOCKS5"),
            (&[5, 0, 5, 0, 0, 7], "no address"),
            (&[5, 1], "method 1"),
        ] {
            let (result, _) = asked(answers, None, address("192.0.2.1:1")).await;
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
