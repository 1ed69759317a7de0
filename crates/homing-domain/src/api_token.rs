//! API tokens, with which clients authenticate.
//!
//! A token is 32 random bytes, written `homing_` and base64. homing keeps only a hash of it: for
//! 256 random bits a fast hash is enough, no slow password hash is needed.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{audit::Actor, time::UnixMillis};

/// A stored token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Chosen by its creator; unique.
    pub name: TokenName,
    /// Identifies the token.
    pub digest: TokenDigest,
    /// The permissions of its bearer.
    pub scope: Scope,
    /// The time of creation.
    pub created: UnixMillis,
}

/// The permissions of a token's bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read-only.
    Read,
    /// Read, change, publish, replay and drop.
    Write,
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

/// The name of a token: 1 to 64 letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TokenName(String);

/// The text is no name of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenNameError {
    /// It is empty, too long, or has other characters.
    #[error("the name of a token has 1 to 64 letters, digits, `-`, `_` and `.`")]
    Form,
    /// The audit has it for others.
    #[error("the audit has `api.tokens`, `homing` and `loopback` for others; choose another name")]
    Reserved,
}

/// The text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is `read` or `write`")]
pub struct ScopeError;

impl ApiToken {
    /// A token of `random` bytes, and its text, a secret: shown to its creator, once.
    #[must_use]
    pub fn new(
        name: TokenName,
        scope: Scope,
        random: &[u8; 32],
        created: UnixMillis,
    ) -> (Self, String) {
        let text = token_text(random);
        let digest = TokenDigest::of(text.as_bytes());
        (Self { name, digest, scope, created }, text)
    }
}

fn token_text(random: &[u8; 32]) -> String {
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

    /// True if this scope includes `needed`.
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

    /// The bytes, always of the same number: comparing two in constant time reveals nothing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TokenName {
    /// The name of a new token, which is none that the audit has for others.
    ///
    /// # Errors
    ///
    /// [`TokenNameError`].
    pub fn of_new(text: &str) -> Result<Self, TokenNameError> {
        let name: Self = text.parse()?;
        if name.is_reserved() { Err(TokenNameError::Reserved) } else { Ok(name) }
    }

    /// The name in the audit: `token NAME` for one that the audit has for others, which no name is.
    #[must_use]
    pub fn as_actor(&self) -> String {
        if self.is_reserved() { format!("token {self}") } else { self.to_string() }
    }

    fn is_reserved(&self) -> bool {
        [Actor::CONFIGURED, Actor::HOMING, Actor::LOOPBACK].contains(&self.as_str())
    }

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
        if sound { Ok(Self(text.to_owned())) } else { Err(TokenNameError::Form) }
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
    fn only_the_write_scope_covers_both() {
        assert!(Scope::Write.covers(Scope::Read) && Scope::Write.covers(Scope::Write));
        assert!(Scope::Read.covers(Scope::Read) && !Scope::Read.covers(Scope::Write));
    }

    #[test]
    fn names_and_scopes_are_read_as_they_are_written() {
        for text in ["ci", "grafana-1.read_only"] {
            assert_eq!(text.parse::<TokenName>().unwrap().to_string(), text);
        }
        for text in ["", "a b", "ü", &"x".repeat(65)] {
            assert_eq!(text.parse::<TokenName>(), Err(TokenNameError::Form), "{text}");
        }
        for text in ["api.tokens", "homing", "loopback"] {
            assert_eq!(TokenName::of_new(text), Err(TokenNameError::Reserved));
            let there: TokenName = text.parse().expect("one that is there can be read");
            assert_eq!(there.as_actor(), format!("token {text}"));
        }
        assert_eq!(TokenName::of_new("ci"), "ci".parse());
        assert_eq!("ci".parse::<TokenName>().unwrap().as_actor(), "ci");
        assert_eq!("read".parse(), Ok(Scope::Read));
        assert_eq!("admin".parse::<Scope>(), Err(ScopeError));
    }

    #[test]
    fn secret_scanners_can_find_a_token() {
        let text = token_text(&[255; 32]);
        assert!(text.starts_with("homing_") && text.len() == 50, "{text}");
        assert_ne!(TokenDigest::of(text.as_bytes()), TokenDigest::of(b"homing_"));
    }
}
