//! A payload as it is stored: compressed, then encrypted, and bound to its row.
//!
//! The content of a payload is a line of JSON (everything but the bodies), then the body of the
//! answer. The id of a body that was sent is a digest by a key, so that it is no proof of a guess.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::AttemptPayload;
use crate::{
    keyring::{Keyring, Place},
    sealed::{self, SealError},
};
use homing_domain::{
    payload::{Part, Payload},
    record::RecordId,
};

pub(super) const PAYLOADS: &str = "payloads";
pub(super) const BODIES: &str = "payload_bodies";

/// A payload that is there and cannot be read: its key is missing, or its row was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload {0}")]
pub struct UnreadablePayload(String);

impl From<SealError> for UnreadablePayload {
    fn from(error: SealError) -> Self {
        Self(error.to_string())
    }
}

/// The id of a body.
pub(super) type BodyId = [u8; 16];

/// Payloads, ready to be written.
pub(super) struct Sealed {
    /// In the order of their ids, as are the bodies.
    pub(super) rows: Vec<Row>,
    pub(super) bodies: Vec<Body>,
}

/// A payload without the body that was sent.
pub(super) struct Row {
    pub(super) id: RecordId,
    pub(super) body: BodyId,
    pub(super) content: Vec<u8>,
}

/// A body that was sent.
pub(super) struct Body {
    pub(super) id: BodyId,
    /// The last attempt that sent it.
    pub(super) last: RecordId,
    pub(super) content: Vec<u8>,
}

/// Everything but the bodies.
#[derive(Serialize, Deserialize)]
struct Head {
    request: Side,
    response: Option<Side>,
}

#[derive(Serialize, Deserialize)]
struct Side {
    headers: Vec<(String, String)>,
    left_out: u32,
    cut: bool,
}

impl From<&Part> for Side {
    fn from(part: &Part) -> Self {
        let (headers, left_out) = (part.headers.clone(), part.headers_left_out);
        Self { headers, left_out, cut: part.cut }
    }
}

impl Side {
    fn with(self, body: Bytes) -> Part {
        let Self { headers, left_out, cut } = self;
        Part { headers, headers_left_out: left_out, body, cut }
    }
}

impl Sealed {
    /// Seals payloads; a body that several of them sent, once.
    pub(super) fn all(keyring: &Keyring, payloads: &[AttemptPayload]) -> sqlx::Result<Self> {
        let mut bodies: BTreeMap<BodyId, (RecordId, &Bytes)> = BTreeMap::new();
        let mut rows = Vec::with_capacity(payloads.len());
        for (id, payload) in payloads {
            let sent = &payload.request.body;
            let body = keyring.digest(sent);
            bodies
                .entry(body)
                .and_modify(|(last, _)| *last = (*last).max(*id))
                .or_insert((*id, sent));
            let place = Place { column: PAYLOADS, row: &row_of(*id) };
            let content = sealed::seal(keyring, place, &content(payload)?)?;
            rows.push(Row { id: *id, body, content });
        }
        rows.sort_unstable_by_key(|row| row.id);
        let bodies = bodies.into_iter().map(|(id, (last, sent))| {
            let place = Place { column: BODIES, row: &row_name(&id) };
            let content = sealed::seal(keyring, place, sent)?;
            Ok(Body { id, last, content })
        });
        Ok(Self { rows, bodies: bodies.collect::<sqlx::Result<_>>()? })
    }
}

fn content(payload: &Payload) -> sqlx::Result<Vec<u8>> {
    let head = Head {
        request: Side::from(&payload.request),
        response: payload.response.as_ref().map(Side::from),
    };
    let head = serde_json::to_vec(&head).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let body = payload.response.as_ref().map(|response| response.body.as_ref());
    Ok([&head, b"\n".as_slice(), body.unwrap_or_default()].concat())
}

/// Opens the payload of `attempt`, and the body that was sent: its id and its content.
pub(super) fn open(
    keyring: &Keyring,
    attempt: RecordId,
    content: &[u8],
    (id, sent): (&[u8], &[u8]),
) -> Result<Payload, UnreadablePayload> {
    let place = Place { column: PAYLOADS, row: &row_of(attempt) };
    let content = sealed::open(keyring, place, content)?;
    let sent = sealed::open(keyring, Place { column: BODIES, row: &row_name(id) }, sent)?;
    let end = content.iter().position(|byte| *byte == b'\n').unwrap_or(content.len());
    let (head, body) = content.split_at(end);
    let head: Head = serde_json::from_slice(head).map_err(|_| SealError::Damaged)?;
    let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
    let response = head.response.map(|response| response.with(body));
    Ok(Payload { request: head.request.with(sent.into()), response })
}

fn row_of(attempt: RecordId) -> String {
    row_name(attempt.uuid().as_bytes())
}

/// The name of a row.
pub(crate) fn row_name(id: &[u8]) -> String {
    STANDARD_NO_PAD.encode(id)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use homing_domain::{encryption_key::EncryptionKey, time::UnixMillis};

    fn keyring(byte: u8) -> Keyring {
        Keyring::new(&[EncryptionKey::from_bytes([byte; 32])]).unwrap()
    }

    fn part(body: &'static [u8]) -> Part {
        let headers = vec![("x-a".to_owned(), "line\nend ä".to_owned())];
        Part { headers, headers_left_out: 2, body: Bytes::from_static(body), cut: true }
    }

    #[test]
    fn a_payload_comes_back_from_its_own_row_only() {
        let id = |last| RecordId::new(UnixMillis::new(7), [last; 10]);
        for response in [None, Some(part(b"")), Some(part(b"a\n\xff\n"))] {
            let payload = Payload { request: part(b"{\"n\":1}"), response };
            let kept = Arc::new(payload.clone());
            let sealed = Sealed::all(&keyring(1), &[(id(2), Arc::clone(&kept)), (id(1), kept)]);
            let Sealed { rows, bodies } = sealed.unwrap();
            assert_eq!((rows.len(), bodies.len(), bodies[0].last), (2, 1, id(2)));
            let read = |keyring: &Keyring, attempt| {
                open(keyring, attempt, &rows[0].content, (&bodies[0].id, &bodies[0].content))
            };
            assert_eq!(read(&keyring(1), id(1)).unwrap(), payload);
            assert!(read(&keyring(1), id(2)).is_err());
            let report = read(&keyring(2), id(1)).unwrap_err().to_string();
            assert!(report.contains("not among"), "{report}");
        }
    }

    #[test]
    fn a_digest_is_no_proof_of_a_guess() {
        assert_eq!(keyring(1).digest(b"a"), keyring(1).digest(b"a"));
        assert_ne!(keyring(1).digest(b"a"), keyring(1).digest(b"b"));
        assert_ne!(keyring(1).digest(b"a"), keyring(2).digest(b"a"));
    }
}
