//! Tokens with which programs and people show that they may ask homing.
//!
//! A token is 32 random bytes, written `homing_` and base64. homing keeps a hash of it only: of 256
//! random bits a fast hash gives nothing away, so that none of the slow ones for passwords is
//! needed.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::time::UnixMillis;

/// What homing knows of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Given by the one who made it; unique.
    pub name: TokenName,
    /// Recognises it.
    pub digest: TokenDigest,
    /// What its bearer may do.
    pub scope: Scope,
    /// When it was made.
    pub created: UnixMillis,
}

/// What the bearer of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at everything that is shown.
    Read,
    /// The same, and change it, publish, replay and drop.
    Write,
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

/// The name of a token: 1 to 64 letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TokenName(String);

/// Why a text is no name of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a token has 1 to 64 letters, digits, `-`, `_` and `.`")]
pub struct TokenNameError;

/// Why a text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is `read` or `write`")]
pub struct ScopeError;

/// The text of a new token. A secret: for the person who asked for it, once.
#[must_use]
pub fn token_text(random: &[u8; 32]) -> String {
    format!("homing_{}", URL_SAFE_NO_PAD.encode(random))
}

impl Scope {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Whether who has this scope may do what `needed` allows.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self == Self::Write || needed == Self::Read
    }
}

impl TokenDigest {
    /// The digest of a token's text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// A digest from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, all of the same number: comparing two in constant time tells nothing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TokenName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = TokenNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let sound = (1..=64).contains(&text.len()) && text.chars().all(fits);
        if sound { Ok(Self(text.to_owned())) } else { Err(TokenNameError) }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Read, Self::Write].into_iter().find(|scope| scope.as_str() == text).ok_or(ScopeError)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_write_may_do_both() {
        assert!(Scope::Write.covers(Scope::Read) && Scope::Write.covers(Scope::Write));
        assert!(Scope::Read.covers(Scope::Read) && !Scope::Read.covers(Scope::Write));
    }

    #[test]
    fn names_and_scopes_are_read_as_they_are_written() {
        for text in ["ci", "grafana-1.read_only"] {
            assert_eq!(text.parse::<TokenName>().unwrap().to_string(), text);
        }
        for text in ["", "a b", "ü", &"x".repeat(65)] {
            assert_eq!(text.parse::<TokenName>(), Err(TokenNameError), "{text}");
        }
        assert_eq!("read".parse(), Ok(Scope::Read));
        assert_eq!("admin".parse::<Scope>(), Err(ScopeError));
    }

    #[test]
    fn a_token_can_be_found_by_those_who_look_for_lost_secrets() {
        let text = token_text(&[255; 32]);
        assert!(text.starts_with("homing_") && text.len() == 50, "{text}");
        assert_ne!(TokenDigest::of(text.as_bytes()), TokenDigest::of(b"homing_"));
    }
}
