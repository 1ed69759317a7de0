//! Payloads of attempts as they are shown, and the command that sends a request again.

use std::cmp::Reverse;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Serialize;

use super::{Explanation, History, RecordView};
use homing_domain::{
    payload::{Part, Payload, PayloadState},
    record::RecordId,
    report::quoted,
};
use homing_store::StoreError;

/// Attempts of an event whose payloads are shown, the newest: a page of them has some megabytes at
/// most.
const MAX_SHOWN: usize = 20;

/// The request and the answer of an attempt; secrets are masked.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AttemptPayload)]
pub struct PayloadView {
    /// The request.
    pub request: PartView,
    /// The answer; absent: not even its head came.
    pub response: Option<PartView>,
    /// A shell command that sends the request again, with masks in place of secrets.
    pub curl: String,
}

/// A request or an answer.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PayloadPart)]
pub struct PartView {
    /// In their order.
    pub headers: Vec<HeaderView>,
    /// The number of headers that were too many to keep.
    pub headers_left_out: u32,
    /// The body, if it is UTF-8.
    pub body: Option<String>,
    /// The body in base64, if it is not.
    pub body_base64: Option<String>,
    /// The body was longer, and is cut at this many bytes.
    pub cut_at: Option<usize>,
    /// The body.
    #[serde(skip)]
    pub bytes: Bytes,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = PayloadHeader)]
pub struct HeaderView {
    /// In lower case.
    pub name: String,
    /// A mask if it is a secret; invalid UTF-8 is replaced.
    pub value: String,
}

impl From<Part> for PartView {
    fn from(part: Part) -> Self {
        let header = |(name, value)| HeaderView { name, value };
        let text = str::from_utf8(&part.body).ok().map(str::to_owned);
        Self {
            headers: part.headers.into_iter().map(header).collect(),
            headers_left_out: part.headers_left_out,
            body_base64: text.is_none().then(|| STANDARD.encode(&part.body)),
            body: text,
            cut_at: part.cut.then_some(part.body.len()),
            bytes: part.body,
        }
    }
}

impl PayloadView {
    fn new(url: &str, payload: Payload) -> Self {
        let request = PartView::from(payload.request);
        let curl = curl(url, &request);
        Self { request, response: payload.response.map(PartView::from), curl }
    }
}

/// The command that sends a request again.
///
/// Source: curl(1): `-g` takes the URL literally, and `name;` is a header without a value; the body
/// goes through a pipe, because an argument is bounded (execve(2), `MAX_ARG_STRLEN`).
fn curl(url: &str, request: &PartView) -> String {
    let is_plain = |text: &&String| !text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c));
    let body = match request.body.as_ref().filter(is_plain) {
        Some(text) => format!("printf %s {}", quoted(text)),
        None => format!("printf %s {} | base64 -d", STANDARD.encode(&request.bytes)),
    };
    let mut lines = vec![format!("curl -sS -i -g -X POST {}", quoted(url))];
    for HeaderView { name, value } in &request.headers {
        // curl adds these by itself.
        if !matches!(name.as_str(), "host" | "content-length") {
            let empty = value.is_empty().then(|| format!("{name};"));
            let header = empty.unwrap_or_else(|| format!("{name}: {value}"));
            lines.push(format!("-H {}", quoted(&header)));
        }
    }
    lines.push("--data-binary @-".to_owned());
    let cut = request.cut_at.map(|bytes| format!("# The body is cut at {bytes} bytes.\n"));
    format!("{}{body} |\n  {}", cut.unwrap_or_default(), lines.join(" \\\n  "))
}

impl History {
    /// The attempt with this id, and its payload; `None`: the log has no such attempt.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn attempt(&self, id: RecordId) -> Result<Option<RecordView>, StoreError> {
        let Some(record) = self.store.attempt(id).await? else { return Ok(None) };
        let mut view = RecordView::from(&record);
        self.add_payload(&mut view).await?;
        Ok(Some(view))
    }

    /// Adds the payloads of the newest attempts.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn add_payloads(&self, explanation: &mut Explanation) -> Result<(), StoreError> {
        let deliveries = explanation.deliveries.iter_mut();
        let attempts = deliveries.flat_map(|delivery| delivery.attempts.iter_mut());
        let mut attempts: Vec<_> = attempts.filter(|one| one.attempt.is_some()).collect();
        attempts.sort_unstable_by_key(|attempt| Reverse(attempt.id));
        for (index, attempt) in attempts.into_iter().enumerate() {
            if index < MAX_SHOWN {
                self.add_payload(attempt).await?;
            } else if attempt.has_payload {
                let shown = format!("`homing attempts {}` shows it", attempt.id);
                attempt.payload_note = Some(shown);
            }
        }
        Ok(())
    }

    /// Adds the payload of an attempt, or the reason why there is none.
    async fn add_payload(&self, attempt: &mut RecordView) -> Result<(), StoreError> {
        let note = match attempt.payload_state {
            _ if attempt.attempt.is_none() => return Ok(()),
            PayloadState::Unwanted => "it was not to be kept (`attempts.payloads`)",
            PayloadState::Missed => {
                "it was given up: too many waited to be written, or the store did not take it"
            }
            PayloadState::Kept => "it is deleted: older ones go where there are too many",
        };
        match self.store.payload(attempt.id).await? {
            Some(Ok(payload)) => {
                let url = attempt.url.as_deref().unwrap_or_default();
                attempt.payload = Some(Box::new(PayloadView::new(url, payload)));
            }
            Some(Err(error)) => attempt.payload_note = Some(error.to_string()),
            None => attempt.payload_note = Some(note.to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn request(body: &[u8], cut: bool) -> PartView {
        let headers = [
            ("authorization", "****"),
            ("content-type", "application/json; a='b'"),
            ("host", "example.com"),
            ("x-empty", ""),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let body = Bytes::copy_from_slice(body);
        PartView::from(Part { headers, headers_left_out: 0, body, cut })
    }

    #[test]
    fn the_command_has_everything_but_secrets() {
        let url = "https://example.com/a?b=[1]&c='d'";
        let text = curl(url, &request(b"{\"a\":\"it's\"}", true));
        insta::assert_snapshot!(text, @r#"
        # The body is cut at 12 bytes.
        printf %s '{"a":"it'\''s"}' |
          curl -sS -i -g -X POST 'https://example.com/a?b=[1]&c='\''d'\''' \
          -H 'authorization: ****' \
          -H 'content-type: application/json; a='\''b'\''' \
          -H 'x-empty;' \
          --data-binary @-
        "#);
    }

    /// Method: the shell runs the command, with `curl` replaced by a function that shows its input.
    #[test]
    fn any_body_comes_out_of_the_command_unchanged() {
        for body in
            [&b"{\n\"a\": \"\\u0041 %s '\"}\r\n"[..], b"", b"\xff\x00", "ä\u{85}".as_bytes()]
        {
            let command = curl("https://example.com/", &request(body, false));
            let script = format!("curl() {{ cat; }}\n{command}");
            let run = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert!(run.status.success(), "{run:?}");
            assert_eq!(run.stdout, body, "{command}");
        }
    }
}
