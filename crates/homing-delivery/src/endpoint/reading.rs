//! Reads the answer of an endpoint.

use std::{cell::LazyCell, sync::Arc};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{
    Attempted, Endpoints, Origin, Purpose, Sent,
    attempted::{Permission, bounded, moved},
    classify,
    connection::Answer,
    describe::{describe, refused_certificate},
    payload::AnswerRead,
    secrets::Secrets,
};
use homing_domain::outcome::{Outcome, Phase};

impl Endpoints {
    /// Reads the answer until `deadline`, and gives its connection back.
    pub(super) async fn read_response(
        &self,
        mut answer: Answer,
        origin: Origin<'_>,
        deadline: Instant,
        sent: &Sent<'_>,
    ) -> Attempted {
        let (status, headers) = (answer.head.status, &answer.head.headers);
        let outcome = classify::outcome_of(status, headers, sent.now);
        let moved = moved(status, headers);
        let control = if self.delivery_control { classify::control(headers) } else { None };
        let mut read = BodyRead::default();
        let ended = timeout_at(deadline, self.read(&mut answer, &mut read)).await;
        let is_complete = matches!(ended, Ok(Ok(())));
        let moved = moved.or_else(|| refused_certificate(status, &read.bytes).map(str::to_owned));
        let (outcome, cause) = match ended {
            Ok(Ok(())) => (outcome, moved),
            // The status decides about the event: what follows cannot change it, and its requests
            // (`Retry-After`, 410) count.
            Ok(Err(error)) => {
                let cause = format!("the answer broke off: {}", describe(&error));
                (outcome, moved.or(Some(cause)))
            }
            Err(_elapsed) if outcome.is_accepted() => {
                let cause = format!("the status {status} came, the end of its body did not");
                (Outcome::TimedOut { phase: Phase::Body }, Some(cause))
            }
            Err(_elapsed) => (outcome, moved),
        };
        let permission = match sent.purpose {
            Purpose::Handshake(origin) => Permission::read(&answer.head.headers, origin),
            Purpose::Delivery | Purpose::Challenge => None,
        };
        let is_kept = self.payloads.keeps(outcome.is_accepted());
        let headers = is_kept.then(|| answer.head.headers.clone());
        if is_complete {
            origin.client.give_back(origin.host, answer).await;
        }
        // What follows has no part in the exchange: the connection serves others meanwhile.
        let secrets = LazyCell::new(|| Secrets::of(sent.subscription, sent.token));
        let BodyRead { bytes, is_cut } = read;
        let response = if bytes.is_empty() { bytes } else { secrets.masked(&bytes, is_cut) };
        let response = Bytes::from(response);
        let controlled = control.map(|control| format!("the endpoint answered `{control}`"));
        let cause =
            [controlled, cause].into_iter().flatten().reduce(|one, two| format!("{one}; {two}"));
        let cause = cause.map(|cause| bounded(secrets.masked_text(cause.as_bytes())));
        let permission = permission.map(|permission| permission.shown(&secrets));
        let payload = headers.and_then(|headers| {
            let answer = AnswerRead { headers: &headers, body: &response, is_cut };
            self.payloads.payload(sent, &secrets, Some(answer))
        });
        let payload = payload.map(Arc::new);
        let status = Some(status.as_u16());
        Attempted { outcome, status, response, cause, control, permission, payload }
    }

    /// Reads the body up to the bound, copying, so that no buffer of the connection is kept; `read`
    /// says if there was more, or may be.
    async fn read(&self, answer: &mut Answer, read: &mut BodyRead) -> hyper::Result<()> {
        while let room @ 1.. = self.max_response_bytes.saturating_sub(read.bytes.len()) {
            let Some(frame) = answer.frame().await.transpose()? else { break };
            if let Some(chunk) = frame.data_ref() {
                read.bytes.extend_from_slice(&chunk.slice(..room.min(chunk.len())));
                // What is known of the end says nothing of what was left out here.
                let is_full = chunk.len() == room && !answer.is_over();
                read.is_cut = chunk.len() > room || is_full;
            }
        }
        Ok(())
    }
}

/// The part of a body that was read.
#[derive(Default)]
struct BodyRead {
    bytes: Vec<u8>,
    /// It went on behind the bound, or it is not known if it did.
    is_cut: bool,
}
