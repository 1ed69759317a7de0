//! The credentials with which homing asks an authorization server for a token, and the token's use.
//!
//! Source: RFC 6749, *The OAuth 2.0 Authorization Framework*, 4.4 (client credentials grant).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::{FieldError, secretive};
use crate::{payload::MASK, time::UnixMillis, url::EndpointUrl};

const MAX_CLIENT_ID_CHARS: usize = 255;
const MAX_SECRET_CHARS: usize = 1_024;
const MAX_PARAMETER_CHARS: usize = 1_024;

/// The way in which a client authenticates itself to the token endpoint. Source of the names:
/// RFC 7591, 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenEndpointAuthMethod {
    /// Id and secret in the header `Authorization`, by HTTP's Basic scheme.
    #[default]
    ClientSecretBasic,
    /// Id and secret in the body.
    ClientSecretPost,
}

/// A client of an authorization server; shown by `Debug` without its secret.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OAuth2Credentials {
    /// The URL of the token endpoint: `https://`, or `http://` on this machine.
    #[schema(pattern = "^[Hh][Tt][Tt][Pp]")]
    pub token_url: String,
    /// Up to 255 characters.
    #[schema(min_length = 1, max_length = 255)]
    pub client_id: String,
    /// Up to 1,024 characters.
    #[schema(min_length = 1, max_length = 1_024)]
    pub client_secret: String,
    /// The scopes that are asked for, with blanks between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1_024)]
    pub scope: Option<String>,
    /// The parameter `audience`, which some authorization servers take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1_024)]
    pub audience: Option<String>,
    /// The place of id and secret in a token request; `client_secret_basic` by default.
    #[serde(default)]
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
}

/// Identifies credentials: a hash of all that a token depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CredentialsId([u8; 32]);

/// The state of the token for some credentials, without the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStatus {
    /// The beginning of the present token's lifetime; `None`: there is none.
    pub obtained: Option<UnixMillis>,
    /// Its end.
    pub expires: Option<UnixMillis>,
    /// The first token request that failed since the last one that did not.
    pub failing_since: Option<UnixMillis>,
    /// The reason why the last one failed.
    pub error: Option<String>,
}

impl CredentialsId {
    /// The hash. Not a secret by itself, but a weak client secret could be guessed with it: only a
    /// digest of it by a key may be kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::str::FromStr for TokenEndpointAuthMethod {
    type Err = TokenEndpointAuthMethodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::ClientSecretBasic, Self::ClientSecretPost]
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or(TokenEndpointAuthMethodError)
    }
}

/// The text is no such way. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("either `client_secret_basic` or `client_secret_post`")]
pub struct TokenEndpointAuthMethodError;

impl TokenEndpointAuthMethod {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }
}

impl<'de> Deserialize<'de> for TokenEndpointAuthMethod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secretive::text(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for OAuth2Credentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Given {
            #[serde(deserialize_with = "secretive::text")]
            token_url: String,
            #[serde(deserialize_with = "secretive::text")]
            client_id: String,
            #[serde(deserialize_with = "secretive::text")]
            client_secret: String,
            #[serde(default)]
            scope: Option<HiddenText>,
            #[serde(default)]
            audience: Option<HiddenText>,
            #[serde(default)]
            token_endpoint_auth_method: TokenEndpointAuthMethod,
        }
        let expected = "an object with `token_url`, `client_id` and `client_secret`";
        let given: Given = secretive::object(deserializer, expected)?;
        Ok(Self {
            token_url: given.token_url,
            client_id: given.client_id,
            client_secret: given.client_secret,
            scope: given.scope.map(|HiddenText(text)| text),
            audience: given.audience.map(|HiddenText(text)| text),
            token_endpoint_auth_method: given.token_endpoint_auth_method,
        })
    }
}

/// A text that an error about its kind does not repeat.
struct HiddenText(String);

impl<'de> Deserialize<'de> for HiddenText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secretive::text(deserializer).map(Self)
    }
}

impl OAuth2Credentials {
    /// The same for credentials that get the same token.
    #[must_use]
    pub fn id(&self) -> CredentialsId {
        let Self { token_url, client_id, client_secret, scope, audience, .. } = self;
        let parts = [
            token_url.as_str(),
            client_id,
            client_secret,
            scope.as_deref().unwrap_or_default(),
            audience.as_deref().unwrap_or_default(),
            self.token_endpoint_auth_method.as_str(),
        ];
        let mut hashed = Sha256::new();
        for part in parts {
            // With its length before it, no part is taken for another one.
            hashed.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hashed.update(part);
        }
        CredentialsId(hashed.finalize().into())
    }

    /// The same with a mask in place of the secret.
    #[must_use]
    pub fn masked(&self) -> Self {
        Self { client_secret: MASK.to_owned(), ..self.clone() }
    }

    /// The token endpoint.
    ///
    /// # Errors
    ///
    /// [`FieldError`]: it is not one that may be called.
    pub fn token_endpoint(&self) -> Result<EndpointUrl, FieldError> {
        let refused = |message: &dyn fmt::Display| wrong("token_url", message);
        let url = EndpointUrl::typed(&self.token_url).map_err(|error| refused(&error))?;
        let is_local = match url.url().host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if url.url().scheme() != "https" && !is_local {
            // Source: RFC 6749, 3.2.
            return Err(refused(&"has to begin with `https://`: the client secret is sent to it"));
        }
        Ok(url)
    }

    /// Checks that a token request can carry them.
    ///
    /// # Errors
    ///
    /// [`FieldError`]; it names the field below `authentication.oauth2`, and never repeats a secret.
    pub fn check(&self) -> Result<(), FieldError> {
        self.token_endpoint()?;
        if self.client_secret == MASK {
            return Err(wrong(
                "client_secret",
                &"this is the mask of the stored one; give it anew",
            ));
        }
        for (field, value, max) in [
            ("client_id", Some(&self.client_id), MAX_CLIENT_ID_CHARS),
            ("client_secret", Some(&self.client_secret), MAX_SECRET_CHARS),
            ("scope", self.scope.as_ref(), MAX_PARAMETER_CHARS),
            ("audience", self.audience.as_ref(), MAX_PARAMETER_CHARS),
        ] {
            let Some(value) = value else { continue };
            if value.is_empty() {
                return Err(wrong(field, &"is empty; leave it out, or give it a value"));
            }
            if value.chars().count() > max {
                return Err(wrong(field, &format_args!("has more than {max} characters")));
            }
            if value.chars().any(char::is_control) {
                return Err(wrong(field, &"has control characters"));
            }
        }
        let scope = self.scope.as_deref().unwrap_or_default();
        // Source: RFC 6749, 3.3.
        if !scope.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
            let message = "has characters that no scope has; several are separated by a blank";
            return Err(wrong("scope", &message));
        }
        Ok(())
    }
}

fn wrong(field: &str, message: &dyn fmt::Display) -> FieldError {
    FieldError::new(format!("authentication.oauth2.{field}"), message)
}

impl fmt::Debug for OAuth2Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Credentials")
            .field("token_url", &self.token_url)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn credentials(changes: &Value) -> Result<OAuth2Credentials, String> {
        let mut given = json!({
            "token_url": "https://auth.example.com/token", "client_id": "homing",
            "client_secret": "s3cret",
        });
        for (name, value) in changes.as_object().unwrap() {
            given[name] = value.clone();
        }
        let read = serde_json::from_value::<OAuth2Credentials>(given);
        let read = read.map_err(|error| error.to_string())?;
        read.check().map_err(|error| error.to_string())?;
        Ok(read)
    }

    #[test]
    fn credentials_are_read_back_as_they_were_given() {
        let all = json!({
            "scope": "hooks:write a", "audience": "https://api.example.com/",
            "token_endpoint_auth_method": "client_secret_post",
        });
        for changes in [json!({}), all] {
            let given = credentials(&changes).unwrap();
            let kept = serde_json::to_value(&given).unwrap();
            assert_eq!(serde_json::from_value::<OAuth2Credentials>(kept).unwrap(), given);
        }
    }

    #[test]
    fn the_secret_is_never_printed() {
        let given = credentials(&json!({})).unwrap();
        let shown = serde_json::to_string(&given.masked()).unwrap();
        let printed = format!("{given:?} {shown}");
        assert!(printed.contains("homing") && !printed.contains("s3cret"), "{printed}");
        for wrong in [json!({"client_secret": 731_773}), json!({"scope": ["731773"]})] {
            let error = credentials(&wrong).unwrap_err();
            assert!(error.contains("expected a string") && !error.contains("731773"), "{error}");
        }
        let error = credentials(&json!({"token_endpoint_auth_method": "s3cret"})).unwrap_err();
        assert!(error.contains("client_secret_post") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn all_that_a_token_depends_on_distinguishes_credentials() {
        let id = |changes: Value| credentials(&changes).unwrap().id();
        let first = id(json!({}));
        assert_eq!(first, id(json!({})));
        for changes in [
            json!({"token_url": "https://auth.example.com/other"}),
            json!({"client_id": "another"}),
            json!({"client_secret": "another"}),
            json!({"scope": "a"}),
            json!({"audience": "a"}),
            json!({"token_endpoint_auth_method": "client_secret_post"}),
            json!({"client_id": "homings", "client_secret": "3cret"}),
        ] {
            assert_ne!(first, id(changes.clone()), "{changes}");
        }
    }

    #[test]
    fn what_no_request_can_carry_is_refused_by_field() {
        let cases = [
            json!({"token_url": "http://auth.example.com/token"}),
            json!({"token_url": "auth.example.com"}),
            json!({"client_id": ""}),
            json!({"client_secret": "****"}),
            json!({"client_secret": "a\n"}),
            json!({"client_id": "x".repeat(256)}),
            json!({"scope": "a\"b"}),
            json!({"audience": ""}),
        ];
        let refused: Vec<_> = cases.iter().map(|case| credentials(case).unwrap_err()).collect();
        insta::assert_snapshot!(refused.join("\n"), @"
        `authentication.oauth2.token_url`: has to begin with `https://`: the client secret is sent to it
        `authentication.oauth2.token_url`: not a URL: it has no `https://` in front; write it as https://host/path
        `authentication.oauth2.client_id`: is empty; leave it out, or give it a value
        `authentication.oauth2.client_secret`: this is the mask of the stored one; give it anew
        `authentication.oauth2.client_secret`: has control characters
        `authentication.oauth2.client_id`: has more than 255 characters
        `authentication.oauth2.scope`: has characters that no scope has; several are separated by a blank
        `authentication.oauth2.audience`: is empty; leave it out, or give it a value
        ");
        for url in ["http://localhost:8080/token", "http://127.0.0.1/t", "http://[::1]:9/t"] {
            assert!(credentials(&json!({"token_url": url})).is_ok(), "{url}");
        }
    }
}
