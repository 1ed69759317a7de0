//! Secrets of a request that its endpoint repeats, and masks in place of them.
//!
//! Found are tokens, credentials and the subscription's own headers, in clear, escaped for JSON and
//! percent-encoded, a credential also by its words and without its Basic encoding; and signatures, by
//! their form. Other encodings of a secret are not found.

use std::cmp::Reverse;

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::oauth2::Token;
use homing_domain::{
    payload::MASK,
    subscription::{Authentication, Subscription},
};

/// A shorter credential is not masked: it would be found everywhere.
const MIN_CREDENTIAL_BYTES: usize = 4;
/// A shorter word of a credential, or value of another header, is not masked: it would be found in
/// ordinary text.
const MIN_WORD_BYTES: usize = 8;
/// More bytes than a tag of version 1 has that is not a signature: one has 44.
const MIN_SIGNATURE_BYTES: usize = 40;

/// All but what a URL has as it is. Source: RFC 3986, 2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parts of a request that an endpoint may repeat.
pub(super) struct Secrets {
    /// The longest first, so that none is found within another one.
    secrets: Vec<Secret>,
    /// The bytes that begin one, as indexes.
    first: [bool; 256],
}

#[derive(PartialEq, Eq)]
struct Secret {
    bytes: Vec<u8>,
    /// It is masked only where it is a word of its own.
    is_word: bool,
}

impl Secrets {
    /// The secrets that a request to `subscription` carries, with the OAuth 2.0 token that it sends.
    pub(super) fn of(subscription: &Subscription, token: Option<&Token>) -> Self {
        let spec = &subscription.spec;
        let mut secrets = Vec::new();
        if let Some(token) = &spec.auth_token {
            add_credential(&mut secrets, token.reveal());
        }
        if let Some(token) = token {
            add_credential(&mut secrets, token.reveal());
        }
        let authorization = spec.authentication.as_ref().and_then(Authentication::authorization);
        if let Some(authorization) = authorization {
            add_credential(&mut secrets, &authorization);
        }
        for (name, value) in &spec.headers {
            if is_secret(name) {
                add_credential(&mut secrets, value);
            } else if !is_ordinary(name) && value.trim_ascii().len() >= MIN_WORD_BYTES {
                add(&mut secrets, value.trim_ascii(), true);
            }
        }
        Self::new(secrets)
    }

    /// These secrets.
    pub(super) fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut secrets = Vec::new();
        for text in texts {
            add(&mut secrets, text, false);
        }
        Self::new(secrets)
    }

    fn new(mut secrets: Vec<Secret>) -> Self {
        secrets.sort_by_key(|secret| Reverse(secret.bytes.len()));
        secrets.dedup();
        let mut first = [false; 256];
        for byte in secrets.iter().filter_map(|secret| secret.bytes.first()).chain(b"v") {
            if let Some(begins) = first.get_mut(usize::from(*byte)) {
                *begins = true;
            }
        }
        Self { secrets, first }
    }

    /// The text with a mask in place of each secret; one that is cut may end within one.
    pub(super) fn masked(&self, text: &[u8], is_cut: bool) -> Vec<u8> {
        let mut masked = Vec::with_capacity(text.len());
        let mut before = None;
        let mut rest = text;
        while let Some((&byte, behind)) = rest.split_first() {
            let begins = self.first.get(usize::from(byte)).is_some_and(|begins| *begins);
            if let Some(length) = begins.then(|| self.length(before, rest, is_cut)).flatten() {
                masked.extend_from_slice(MASK.as_bytes());
                before = None;
                rest = rest.get(length..).unwrap_or_default();
            } else {
                masked.push(byte);
                before = Some(byte);
                rest = behind;
            }
        }
        masked
    }

    /// The same of what is shown as text; invalid UTF-8 is replaced.
    pub(super) fn masked_text(&self, text: &[u8]) -> String {
        String::from_utf8_lossy(&self.masked(text, false)).into_owned()
    }

    /// The length of the secret at the beginning of `rest`, behind the byte `before`.
    fn length(&self, before: Option<u8>, rest: &[u8], is_cut: bool) -> Option<usize> {
        let found = self.secrets.iter().find_map(|secret| secret.length(before, rest, is_cut));
        found.or_else(|| signature(rest, is_cut))
    }
}

impl Secret {
    fn length(&self, before: Option<u8>, rest: &[u8], is_cut: bool) -> Option<usize> {
        if self.is_word && before.is_some_and(is_letter) {
            return None;
        }
        if let Some(behind) = rest.strip_prefix(self.bytes.as_slice()) {
            let is_found = !self.is_word || !behind.first().copied().is_some_and(is_letter);
            return is_found.then_some(self.bytes.len());
        }
        let is_begun = is_cut && rest.len() >= MIN_CREDENTIAL_BYTES && self.bytes.starts_with(rest);
        is_begun.then_some(rest.len())
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// The length of the signature at the beginning of `text`, whatever it signs: computing those that
/// were sent anew would cost as much as signing. Source: Standard Webhooks specification 1.0.
fn signature(text: &[u8], is_cut: bool) -> Option<usize> {
    let rest = text.strip_prefix(b"v1")?;
    let rest = rest.strip_prefix(b"a").unwrap_or(rest);
    let rest = rest.strip_prefix(b",").or_else(|| rest.strip_prefix(b"%2C"))?;
    let is_other = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"+/=\\%".contains(byte);
    let end = rest.iter().position(is_other);
    let length = end.unwrap_or(rest.len());
    let is_begun = is_cut && end.is_none() && length >= MIN_CREDENTIAL_BYTES;
    let is_found = length >= MIN_SIGNATURE_BYTES || is_begun;
    is_found.then(|| text.len().saturating_sub(rest.len()).saturating_add(length))
}

/// Adds a credential, its words behind the scheme, values of its parameters, and what a Basic one
/// encodes.
fn add_credential(secrets: &mut Vec<Secret>, text: &str) {
    let text = text.trim_ascii();
    if text.len() >= MIN_CREDENTIAL_BYTES {
        add(secrets, text, false);
    }
    let scheme = text.split_once(' ').map(|(scheme, _)| scheme);
    for word in text.split([' ', '\t', ';', ',']).filter(|word| Some(*word) != scheme) {
        let value = word.split_once('=').map(|(_, value)| value.trim_matches('"'));
        for part in [Some(word), value].into_iter().flatten() {
            if part.len() >= MIN_WORD_BYTES {
                add(secrets, part, false);
            }
        }
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
            && let Ok(Ok(pair)) = STANDARD.decode(word).map(String::from_utf8)
        {
            let password = pair.split_once(':').map(|(_, password)| password);
            for part in [Some(&*pair), password].into_iter().flatten() {
                if part.len() >= MIN_CREDENTIAL_BYTES {
                    add(secrets, part, false);
                }
            }
        }
    }
}

/// Adds a text in all forms in which it is found.
fn add(secrets: &mut Vec<Secret>, text: &str, is_word: bool) {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let escaped = inner.unwrap_or(text).to_owned();
    let slashed = escaped.replace('/', r"\/");
    let encoded = utf8_percent_encode(text, ENCODED).to_string();
    for form in [text.to_owned(), escaped, slashed, encoded] {
        let secret = Secret { bytes: form.into_bytes(), is_word };
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
}

/// True if a header of this name carries a secret.
pub(super) fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "auth",
        "cookie",
        "token",
        "secret",
        "key",
        "session",
        "signature",
        "password",
        "credential",
    ];
    let name = name.to_ascii_lowercase();
    // A challenge is none: `www-authenticate` says what an endpoint asks for.
    !name.ends_with("-authenticate") && PARTS.iter().any(|part| name.contains(part))
}

/// True if a header of this name carries no secret, and its value is found in ordinary answers.
fn is_ordinary(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "user-agent" || name.starts_with("accept") || name.starts_with("content-")
}

/// An address, or a header with addresses, without user, password and query, which may be secret.
pub(super) fn without_query(text: &str) -> String {
    // `Link` has several, each within `<` and `>`. Source: RFC 8288, 3.
    if text.trim_start().starts_with('<') {
        return text.split_inclusive('>').map(without_query_of_one).collect();
    }
    without_query_of_one(text)
}

fn without_query_of_one(text: &str) -> String {
    let (text, end) = text.strip_suffix('>').map_or((text, ""), |text| (text, ">"));
    let (address, query) = match text.split_once(['?', '#']) {
        Some((address, _secret)) => (address, "?…"),
        None => (text, ""),
    };
    let Some((scheme, rest)) = address.split_once("//") else {
        return format!("{address}{query}{end}");
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_user, host)| host);
    format!("{scheme}//{host}{path}{query}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::samples::subscription;

    fn secrets(changes: &serde_json::Value) -> Secrets {
        Secrets::of(&subscription("https://example.com/hook", changes), None)
    }

    #[test]
    fn a_credential_is_found_in_every_form_that_an_endpoint_gives_it() {
        let secrets = secrets(&serde_json::json!({
            "headers": {
                "X-Api-Key": "to/ken \"4711\"",
                "Authorization": "Basic dXNlcjpwYXNzd29yZA==",
                "Cookie": "session=0123456789; theme=dark",
            },
        }));
        for (text, expected) in [
            ("to/ken \"4711\"", "****"),
            (r#"{"key":"to/ken \"4711\""}"#, r#"{"key":"****"}"#),
            (r#"{"key":"to\/ken \"4711\""}"#, r#"{"key":"****"}"#),
            ("?key=to%2Fken%20%224711%22&", "?key=****&"),
            ("Basic dXNlcjpwYXNzd29yZA==", "****"),
            ("got dXNlcjpwYXNzd29yZA==", "got ****"),
            ("user:password!", "****!"),
            ("no 'password'", "no '****'"),
            ("session 0123456789", "session ****"),
            ("theme=dark", "****"),
        ] {
            assert_eq!(secrets.masked_text(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_password_is_found_alone_and_in_the_header() {
        let secrets = secrets(&serde_json::json!({
            "authentication": {"basic": {"username": "user", "password": "pass/word"}},
        }));
        for (text, expected) in [
            ("authorization: Basic dXNlcjpwYXNzL3dvcmQ=", "authorization: ****"),
            ("user:pass/word is wrong", "**** is wrong"),
            ("?password=pass%2Fword", "?password=****"),
            ("no user 'user'", "no user 'user'"),
        ] {
            assert_eq!(secrets.masked_text(text.as_bytes()), expected);
        }
    }

    #[test]
    fn the_longest_secret_is_masked_as_a_whole() {
        let secrets = secrets(&serde_json::json!({
            "auth_token": "acme",
            "headers": {"X-Key": "acme-4711-secret"},
        }));
        assert_eq!(secrets.masked_text(b"acme-4711-secret, acmeacme"), "****, ********");
    }

    #[test]
    fn ordinary_text_stays() {
        let secrets = secrets(&serde_json::json!({
            "headers": {
                "Accept": "application/json",
                "X-Retry": "true",
                "X-Env": "prod",
                "X-Team": "payments",
            },
        }));
        let text = "application/json: true product, prepayments";
        assert_eq!(secrets.masked_text(text.as_bytes()), text);
        assert_eq!(secrets.masked_text(b"team \"payments\""), "team \"****\"");
    }

    #[test]
    fn a_secret_that_is_cut_off_is_masked() {
        let secrets = secrets(&serde_json::json!({"auth_token": "0123456789"}));
        assert_eq!(secrets.masked(b"a 01234", true), b"a ****");
        assert_eq!(secrets.masked(b"a 01234", false), b"a 01234");
        assert_eq!(secrets.masked(b"a v1,QUJD", true), b"a ****");
    }

    #[test]
    fn signatures_are_found_by_their_form() {
        let secrets = secrets(&serde_json::json!({}));
        let tag = "K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=";
        for text in [format!("v1,{tag}"), format!("v1,{}", tag.replace('/', r"\/"))] {
            let masked = secrets.masked_text(format!("got {text} v1,{tag}.").as_bytes());
            assert_eq!(masked, "got **** ****.");
        }
        let pair = format!("v1a,{tag}{tag} v1a%2C{tag}{tag}");
        assert_eq!(secrets.masked_text(pair.as_bytes()), "**** ****");
        assert_eq!(secrets.masked_text(b"v1,v2, v1,3 v1a,v2"), "v1,v2, v1,3 v1a,v2");
    }

    #[test]
    fn addresses_lose_what_may_be_secret() {
        for (text, expected) in [
            ("https://user:secret@a.example/b?c=secret", "https://a.example/b?…"),
            ("/login#secret>", "/login?…>"),
            ("5; url=https://u@a.example/?s", "5; url=https://a.example/?…"),
            (
                "<https://a.example/?s>; rel=\"x\", </b?s>",
                "<https://a.example/?…>; rel=\"x\", </b?…>",
            ),
        ] {
            assert_eq!(without_query(text), expected);
        }
    }

    #[test]
    fn secrets_are_known_by_the_names_of_headers() {
        for name in ["Authorization", "Set-Cookie2", "x-api-key", "x-auth-token", "x-session-id"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["www-authenticate", "content-type", "x-request-id", "keep-alive", "server"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
