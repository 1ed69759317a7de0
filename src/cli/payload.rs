//! The payload of an attempt as text.

use super::{failure::Failure, output::Output};
use crate::history::{PartView, RecordView};

/// Writes the payload of an attempt, or why there is none.
pub(super) fn write(attempt: &RecordView, output: &mut Output<'_>) -> Result<(), Failure> {
    if let Some(note) = &attempt.payload_note {
        output.line(format_args!("No payload: {note}."))?;
    }
    let Some(payload) = &attempt.payload else { return Ok(()) };
    let url = attempt.url.as_deref().unwrap_or_default();
    write_part(&format!("Sent: POST {url}"), &payload.request, output)?;
    match &payload.response {
        Some(response) => {
            let status = attempt.status.map(|status| format!(": {status}"));
            write_part(&format!("Received{}", status.unwrap_or_default()), response, output)?;
        }
        None => output.line("Received: nothing")?,
    }
    output.line("To send it again, with your secrets in place of ****:")?;
    output.quote(&payload.curl)
}

fn write_part(title: &str, part: &PartView, output: &mut Output<'_>) -> Result<(), Failure> {
    output.line(title)?;
    for header in &part.headers {
        output.quote(&format!("{}: {}", header.name, header.value))?;
    }
    if part.headers_left_out > 0 {
        output.line(format_args!("{} more headers were not kept", part.headers_left_out))?;
    }
    let body = part.body.as_deref().or(part.body_base64.as_deref()).unwrap_or_default();
    if !body.is_empty() {
        if part.body_base64.is_some() {
            output.line("in base64:")?;
        }
        output.quote(body)?;
    }
    match part.cut_at {
        Some(bytes) => output.line(format_args!("cut at {bytes} bytes")),
        None => Ok(()),
    }
}
