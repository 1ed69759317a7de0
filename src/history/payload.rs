//! Payloads of attempts as they are shown, and the command that sends a request again.

use std::{borrow::Cow, cmp::Reverse};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Explanation, History, RecordView};
use homing_domain::{
    payload::{Part, Payload, PayloadState},
    record::RecordId,
    report::visible,
};
use homing_store::StoreError;

/// Attempts of an event whose payloads are shown, the newest.
const MAX_SHOWN: usize = 20;
/// Once as many bytes of bodies are shown, further payloads are not, so that a page has some
/// megabytes at most.
const MAX_SHOWN_BYTES: usize = 1_024 * 1_024;

/// The request and the answer of an attempt; secrets are masked.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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

    /// The bytes of its bodies.
    fn bytes(&self) -> usize {
        let response = self.response.as_ref().map_or(0, |response| response.bytes.len());
        self.request.bytes.len().saturating_add(response)
    }
}

/// The command that sends a request again, for every POSIX shell.
///
/// Source: curl(1): `-g` takes the URL literally, and `name;` is a header without a value; the body
/// goes through a pipe, because an argument is bounded (execve(2), `MAX_ARG_STRLEN`).
fn curl(url: &str, request: &PartView) -> String {
    let body = match request.body.as_deref().filter(|text| is_plain(text)) {
        Some(text) => format!("printf %s {}", in_quotes(text)),
        None => decoded(&request.bytes),
    };
    let mut lines = vec![format!("curl -sS -i -g -X POST {}", word(url))];
    for HeaderView { name, value } in &request.headers {
        // curl adds these by itself.
        if !matches!(name.as_str(), "host" | "content-length") {
            let empty = value.is_empty().then(|| format!("{name};"));
            let header = empty.unwrap_or_else(|| format!("{name}: {value}"));
            lines.push(format!("-H {}", word(&header)));
        }
    }
    lines.push("--data-binary @-".to_owned());
    let cut = request.cut_at.map(|bytes| format!("# The body is cut at {bytes} bytes.\n"));
    format!("{}{body} |\n  {}", cut.unwrap_or_default(), lines.join(" \\\n  "))
}

/// True if the text is shown unchanged: it has no line breaks, and nothing that is invisible.
fn is_plain(text: &str) -> bool {
    matches!(visible(text), Cow::Borrowed(_))
}

/// A text as one word. The quoting for line breaks that bash and zsh have (`$'…'`) is none in
/// dash: what follows a quote in it would run.
fn word(text: &str) -> String {
    if is_plain(text) { in_quotes(text) } else { format!("\"$({})\"", decoded(text.as_bytes())) }
}

/// Source: POSIX.1-2024, 2.2.2: nothing but a single quote ends it.
fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The command that writes `bytes`.
fn decoded(bytes: &[u8]) -> String {
    format!("printf %s '{}' | base64 -d", STANDARD.encode(bytes))
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
        let mut shown = 0_usize;
        for (index, attempt) in attempts.into_iter().enumerate() {
            if index < MAX_SHOWN && shown < MAX_SHOWN_BYTES {
                self.add_payload(attempt).await?;
                shown = shown.saturating_add(attempt.payload.as_ref().map_or(0, |one| one.bytes()));
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
                // Also one that was given up because the store did not say in time that it has it.
                attempt.has_payload = true;
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

    /// Goal: the command does what it says in every shell, whatever publishers and endpoints wrote.
    /// Method: the shells run it with `curl` replaced by a function that writes its arguments, each
    /// ended by a zero, and its input.
    #[test]
    fn no_shell_reads_anything_into_a_body_a_url_or_a_header() {
        let hostile =
            "\n\"a\": \"'; echo INJECTED >&2 #\"\r\n`echo INJECTED >&2` $(echo INJECTED >&2)";
        let url = "https://example.com/?a='; echo INJECTED >&2 #$(echo INJECTED >&2)";
        let bodies = [
            hostile.as_bytes(),
            &hostile.as_bytes()[1..],
            b"'; echo INJECTED >&2 #",
            b"{\n\"a\": \"\\u0041 %s '\"}\r\n",
            b"-n %d \\c\\",
            b"",
            b"\xff\x00",
            "ä\u{85}\u{202e}'; echo INJECTED >&2 #".as_bytes(),
        ];
        let script = "curl() { for one; do printf '%s\\0' \"$one\"; done; cat; }";
        for (body, shell) in bodies.iter().flat_map(|body| [(body, "sh"), (body, "bash")]) {
            let mut request = request(body, false);
            let header = HeaderView { name: "x-tab".into(), value: "a\t'; echo INJECTED #".into() };
            request.headers.push(header);
            let command = curl(url, &request);
            let run = Command::new(shell).args(["-c", &format!("{script}\n{command}")]).output();
            let run = run.unwrap();
            assert!(run.status.success() && run.stderr.is_empty(), "{shell}: {run:?}");
            let parts: Vec<_> = run.stdout.splitn(14, |byte| *byte == 0).collect();
            let words: Vec<_> =
                parts[..13].iter().map(|word| str::from_utf8(word).unwrap()).collect();
            let expected = [
                &["-sS", "-i", "-g", "-X", "POST", url, "-H", "authorization: ****", "-H"][..],
                &["content-type: application/json; a='b'", "-H", "x-empty;", "-H"],
            ];
            assert_eq!(words, expected.concat(), "{shell}: {command}");
            let rest = [b"x-tab: a\t'; echo INJECTED #\0--data-binary\0@-\0", *body].concat();
            assert_eq!(parts[13], rest, "{shell}: {command}");
        }
    }
}
