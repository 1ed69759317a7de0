//! The headers of a draft, and which of them a subscription may set.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, FieldError};
use crate::subscription::wrong::all;

/// Headers that homing or HTTP sets; a subscription cannot.
const RESERVED_HEADERS: [&str; 17] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
const RESERVED_PREFIXES: [&str; 2] = ["webhook-", "x-homing-"];

const MAX_HEADERS: usize = 20;
const MAX_HEADER_BYTES: usize = 1_024;

impl Draft {
    pub(super) fn headers(&self) -> Result<BTreeMap<String, String>, Vec<FieldError>> {
        if self.headers.len() > MAX_HEADERS {
            let message = format!("{} headers; at most {MAX_HEADERS}", self.headers.len());
            return Err(vec![FieldError::new("headers", message)]);
        }
        let authorized_by = if self.auth_token.is_some() {
            Some("auth_token")
        } else {
            self.authentication.is_some().then_some("authentication")
        };
        let mut seen = BTreeSet::new();
        all(self.headers.iter().map(|(name, value)| {
            let (name, value) = (name.to_ascii_lowercase(), trimmed(value));
            let wrong = |message| FieldError::new(format!("headers.{name}"), message);
            check_header(&name, &value, authorized_by).map_err(wrong)?;
            if !seen.insert(name.clone()) {
                return Err(wrong("is given twice: case makes no difference".to_owned()));
            }
            Ok((name, value))
        }))
    }
}

/// Removes the blanks around it, which are not part of a header's value. Source: RFC 9110, 5.5.
pub(super) fn trimmed(value: &str) -> String {
    value.trim_matches([' ', '\t']).to_owned()
}

/// `name` is in lower case; `authorized_by` is the field that is sent as `authorization`.
fn check_header(name: &str, value: &str, authorized_by: Option<&str>) -> Result<(), String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err("not a header name".to_owned());
    }
    if RESERVED_HEADERS.contains(&name)
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    {
        return Err("this header is set by homing".to_owned());
    }
    if name == "authorization"
        && let Some(field) = authorized_by
    {
        return Err(format!("set either this header or `{field}`"));
    }
    if name.len().saturating_add(value.len()) > MAX_HEADER_BYTES {
        return Err(format!("name and value have more than {MAX_HEADER_BYTES} bytes"));
    }
    if value.chars().any(char::is_control) {
        return Err("the value has control characters".to_owned());
    }
    Ok(())
}
