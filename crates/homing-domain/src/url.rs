//! The URLs of endpoints, and the keys of other targets.

use std::{cell::Cell, fmt, str::FromStr};

use serde::Serialize;
use url::{SyntaxViolation, Url};

/// An endpoint's URL, normalised: scheme and host in lower case, no default port, no fragment.
///
/// Two subscriptions with the same normalised URL share an endpoint. A job that calls no URL has a
/// key in its place, which is kept and shown as `job:KEY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EndpointUrl(Url);

/// The prefix with which the key of a job is kept and shown.
const JOB: &str = "job:";

/// The text is not an endpoint's URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointUrlError {
    /// Not a URL.
    #[error("not a URL: {}; write it as https://host/path", in_words(*.0))]
    Malformed(url::ParseError),
    /// Another scheme, or none.
    #[error("`{0}` is not a scheme that homing calls; use https or http")]
    Scheme(String),
    /// `https:///path`, of which a lenient parser makes `https://path/`.
    #[error("no host right behind `//`; write it as https://host/path")]
    Slashes,
    /// User name or password.
    #[error("a URL with user name or password is not taken; use `auth_token` or `headers`")]
    Credentials,
    /// Longer than servers accept, encoded as it is stored and sent.
    #[error(
        "{stored} bytes as stored and sent, encoded ({typed} as typed); a URL has at most {max} as \
         stored",
        max = EndpointUrl::MAX_BYTES
    )]
    TooLong {
        /// Bytes of the text.
        typed: usize,
        /// Bytes of the normalised URL.
        stored: usize,
    },
    /// Not the key of a job.
    #[error("the key of a job has 1 to {max} letters, digits and `-_.:@`", max = EndpointUrl::MAX_KEY)]
    Key,
    /// The part after `#`, which is for browsers.
    #[error("what follows `#` is never sent; leave it out, or write %23 where `#` is meant")]
    Fragment,
    /// `https://{tenant}.example.com`
    #[error(
        "`{{` and `}}` are replaced by nothing: a subscription has one URL; write %7B and %7D where \
         they are meant"
    )]
    Braces,
    /// A parser leaves these out.
    #[error("a tab or line break within a URL would be left out; write it without")]
    Breaks,
    /// A parser makes `/` of it.
    #[error("`\\` would be read as `/`; write `/`, or %5C where it is meant")]
    Backslash,
}

impl EndpointUrl {
    /// A length that all common servers take.
    pub const MAX_BYTES: usize = 2_048;

    /// The longest key of a job, in bytes.
    pub const MAX_KEY: usize = 200;

    /// The target of a job: a URL, or a key, which is a text without `//`. Jobs of one target share
    /// one circuit and one limit of those in flight.
    ///
    /// # Errors
    ///
    /// [`EndpointUrlError`].
    pub fn target(text: &str) -> Result<Self, EndpointUrlError> {
        if text.contains("//") { text.parse() } else { Self::of_key(text) }
    }

    fn of_key(key: &str) -> Result<Self, EndpointUrlError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
        if key.is_empty() || key.len() > Self::MAX_KEY || !key.chars().all(is_plain) {
            return Err(EndpointUrlError::Key);
        }
        format!("{JOB}{key}").parse().map(Self).map_err(EndpointUrlError::Malformed)
    }

    /// The key of a job; `None`: it is a URL.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.as_str().strip_prefix(JOB)
    }

    /// As [`from_str`](Self::from_str), for a URL that was just written: it must be called exactly
    /// as written, so what a parser would drop or replace is refused.
    ///
    /// # Errors
    ///
    /// [`EndpointUrlError`].
    pub fn typed(text: &str) -> Result<Self, EndpointUrlError> {
        if text.contains(['{', '}']) {
            return Err(EndpointUrlError::Braces);
        }
        if text.trim().contains(['\t', '\n', '\r']) {
            return Err(EndpointUrlError::Breaks);
        }
        if text.contains('\\') {
            return Err(EndpointUrlError::Backslash);
        }
        let url: Self = text.parse()?;
        if url.key().is_some() {
            return Err(EndpointUrlError::Scheme(url.0.scheme().to_owned()));
        }
        if text.contains('#') { Err(EndpointUrlError::Fragment) } else { Ok(url) }
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for EndpointUrl {
    type Err = EndpointUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(key) = text.strip_prefix(JOB) {
            return Self::of_key(key);
        }
        let has_two_slashes = Cell::new(true);
        let see = |violation| {
            if violation == SyntaxViolation::ExpectedDoubleSlash {
                has_two_slashes.set(false);
            }
        };
        let parsed = Url::options().syntax_violation_callback(Some(&see)).parse(text);
        let mut url = parsed.map_err(EndpointUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointUrlError::Scheme(url.scheme().to_owned()));
        }
        if !has_two_slashes.get() {
            return Err(EndpointUrlError::Slashes);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointUrlError::Credentials);
        }
        url.set_fragment(None);
        let stored = url.as_str().len();
        if stored > Self::MAX_BYTES {
            return Err(EndpointUrlError::TooLong { typed: text.len(), stored });
        }
        Ok(Self(url))
    }
}

/// Describes the problem of a text that is no URL. The library's own messages presume knowledge of
/// the standard.
#[must_use]
pub fn in_words(error: url::ParseError) -> &'static str {
    use url::ParseError as Error;
    match error {
        Error::RelativeUrlWithoutBase => "it has no `https://` in front",
        Error::EmptyHost => "it names no host",
        Error::IdnaError | Error::InvalidDomainCharacter => {
            "its host is no name that a host can have"
        }
        Error::InvalidPort => "its port is no number from 0 to 65535",
        Error::InvalidIpv4Address => "its host ends in a number, and is no IPv4 address",
        Error::InvalidIpv6Address => "its host is in brackets, and is no IPv6 address",
        Error::Overflow => "it is too long",
        Error::RelativeUrlWithCannotBeABaseBase | Error::SetHostOnCannotBeABaseUrl | _ => {
            "it cannot be read"
        }
    }
}

/// Without the query, which may hold secrets: the form for logs.
impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.as_str().split('?').next().unwrap_or_default();
        f.write_str(shown)?;
        if self.0.query().is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: an accepted URL can be read again, and is the same.
        #[test]
        fn an_accepted_url_is_read_back(
            text in "https?://[a-zA-Z0-9äß.%\\[\\]:@_-]{1,20}[/?#\\\\]?[ -~\t\näß日{}]{0,40}",
            tail in 0_usize..700,
        ) {
            for text in [text.clone(), format!("{text}{}", "日".repeat(tail))] {
                let Ok(url) = text.parse::<EndpointUrl>() else { continue };
                prop_assert!(url.as_str().len() <= EndpointUrl::MAX_BYTES);
                prop_assert_eq!(url.as_str().parse::<EndpointUrl>(), Ok(url));
            }
        }
    }

    /// Reported: "added", then unreadable, because its length was measured before it was encoded.
    #[test]
    fn the_length_that_counts_is_that_of_the_encoded_url() {
        let text = format!("https://example.com/hook?name={}", "日本".repeat(200));
        let error = text.parse::<EndpointUrl>().unwrap_err();
        assert_eq!(error, EndpointUrlError::TooLong { typed: 1_230, stored: 3_630 });
        insta::assert_snapshot!(error, @"3630 bytes as stored and sent, encoded (1230 as typed); a URL has at most 2048 as stored");
        let dots = format!("https://example.com/{}", "a/../".repeat(1_000));
        assert_eq!(dots.parse::<EndpointUrl>().unwrap().as_str(), "https://example.com/");
    }

    #[test]
    fn a_typed_url_is_called_as_typed_or_refused() {
        let refusal = |text: &str| EndpointUrl::typed(text).unwrap_err();
        for text in ["http://{tenant}.example.com", "https://a.b/{x}/c", "https://a.b/?t={x}"] {
            assert_eq!(refusal(text), EndpointUrlError::Braces, "{text}");
        }
        for text in ["https://a.b/c#d", "https://a.b/#", "https://a.b#/c"] {
            assert_eq!(refusal(text), EndpointUrlError::Fragment, "{text}");
        }
        assert_eq!(refusal("https://a.b/c\nd"), EndpointUrlError::Breaks);
        assert_eq!(refusal("https://a.b\\c"), EndpointUrlError::Backslash);
        for text in [" https://a.b/c ", "https://a.b/c d", "https://a.b/%23", "https://Ä.b/ü?ü"]
        {
            assert_eq!(EndpointUrl::typed(text), text.parse(), "{text}");
        }
        insta::assert_snapshot!(refusal("http://{tenant}.example.com"), @"`{` and `}` are replaced by nothing: a subscription has one URL; write %7B and %7D where they are meant");
    }

    #[test]
    fn urls_that_mean_the_same_are_the_same() {
        let url = |text: &str| text.parse::<EndpointUrl>().unwrap();
        assert_eq!(url("HTTPS://Example.COM:443/A?b=C#d"), url("https://example.com/A?b=C"));
        assert_ne!(url("https://example.com/a"), url("https://example.com/A"));
        assert_eq!(url("http://example.com").as_str(), "http://example.com/");
    }

    #[test]
    fn a_target_is_a_url_or_a_key() {
        let target = EndpointUrl::target("printer:2@Basel").unwrap();
        assert_eq!(target.as_str(), "job:printer:2@Basel");
        assert_eq!(target.key(), Some("printer:2@Basel"));
        assert_eq!(target.as_str().parse(), Ok(target.clone()), "as the store reads it");
        let url = EndpointUrl::target("https://Example.com").unwrap();
        assert_eq!((url.as_str(), url.key()), ("https://example.com/", None));
        let long = "k".repeat(EndpointUrl::MAX_KEY + 1);
        for text in ["", "a b", "a/b", "a?b", "a#b", "ä", "a\\b", "a%20b", &long] {
            assert_eq!(EndpointUrl::target(text), Err(EndpointUrlError::Key), "{text}");
        }
        let typed = EndpointUrl::typed(target.as_str()).unwrap_err();
        insta::assert_snapshot!(typed, @"`job` is not a scheme that homing calls; use https or http");
    }

    #[test]
    fn a_log_never_shows_the_query() {
        let url: EndpointUrl = "https://example.com/a?token=secret".parse().unwrap();
        assert_eq!(url.to_string(), "https://example.com/a?…");
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        let error = |text: &str| text.parse::<EndpointUrl>().unwrap_err().to_string();
        insta::assert_snapshot!(error("example.com/hook"), @"not a URL: it has no `https://` in front; write it as https://host/path");
        insta::assert_snapshot!(error("ftp://example.com"), @"`ftp` is not a scheme that homing calls; use https or http");
        insta::assert_snapshot!(error("https://u:p@example.com"), @"a URL with user name or password is not taken; use `auth_token` or `headers`");
        for text in ["https:///x", "https:x", "https:/x", "https:\\\\x", "https:////x"] {
            assert_eq!(text.parse::<EndpointUrl>(), Err(EndpointUrlError::Slashes), "{text}");
        }
        insta::assert_snapshot!(error("https:///x"), @"no host right behind `//`; write it as https://host/path");
        insta::assert_snapshot!(error("https://"), @"not a URL: it names no host; write it as https://host/path");
        for (text, why) in [
            ("https://a b", "its host is no name that a host can have"),
            ("https://h:99999", "its port is no number from 0 to 65535"),
            ("https://h:port/", "its port is no number from 0 to 65535"),
            ("https://1.2.3.999", "its host ends in a number, and is no IPv4 address"),
            ("https://[::1", "its host is in brackets, and is no IPv6 address"),
            ("https://xn--a/", "its host is no name that a host can have"),
            ("//host/path", "it has no `https://` in front"),
        ] {
            let expected = format!("not a URL: {why}; write it as https://host/path");
            assert_eq!(error(text), expected, "{text}");
        }
    }
}
