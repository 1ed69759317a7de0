//! The credentials with which homing authenticates itself to an endpoint.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize};

use super::{FieldError, OAuth2Credentials, secretive};
use crate::payload::MASK;

const MAX_USERNAME_CHARS: usize = 255;
const MAX_PASSWORD_CHARS: usize = 1_024;

/// The way in which a request authenticates itself in `Authorization`, other than by a bearer token
/// that stays the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// HTTP's Basic scheme.
    Basic(BasicCredentials),
    /// A token that homing asks for, OAuth 2.0's client credentials grant.
    #[serde(rename = "oauth2")]
    OAuth2(OAuth2Credentials),
}

/// A user name and a password; shown by `Debug` without the password.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BasicCredentials {
    /// Up to 255 characters without a colon.
    #[schema(max_length = 255)]
    pub username: String,
    /// Up to 1,024 characters.
    #[schema(max_length = 1_024)]
    pub password: String,
}

impl<'de> Deserialize<'de> for Authentication {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Given {
            Basic(BasicCredentials),
            #[serde(rename = "oauth2")]
            OAuth2(OAuth2Credentials),
        }
        let expected = "an object: {\"basic\": {…}} or {\"oauth2\": {…}}";
        Ok(match secretive::object(deserializer, expected)? {
            Given::Basic(basic) => Self::Basic(basic),
            Given::OAuth2(oauth2) => Self::OAuth2(oauth2),
        })
    }
}

impl<'de> Deserialize<'de> for BasicCredentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Given {
            #[serde(deserialize_with = "secretive::text")]
            username: String,
            #[serde(deserialize_with = "secretive::text")]
            password: String,
        }
        let Given { username, password } =
            secretive::object(deserializer, "an object with `username` and `password`")?;
        Ok(Self { username, password })
    }
}

impl Authentication {
    /// The name of the way.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Basic(_) => "basic",
            Self::OAuth2(_) => "oauth2",
        }
    }

    /// The same with a mask in place of each secret.
    #[must_use]
    pub fn masked(&self) -> Self {
        match self {
            Self::Basic(BasicCredentials { username, .. }) => Self::Basic(BasicCredentials {
                username: username.clone(),
                password: MASK.to_owned(),
            }),
            Self::OAuth2(oauth2) => Self::OAuth2(oauth2.masked()),
        }
    }

    /// The value of `Authorization`, a secret; `None`: it is that of a token.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        match self {
            Self::Basic(basic) => Some(basic.authorization()),
            Self::OAuth2(_) => None,
        }
    }

    /// The credentials for which a token is sent.
    #[must_use]
    pub fn oauth2(&self) -> Option<&OAuth2Credentials> {
        match self {
            Self::Basic(_) => None,
            Self::OAuth2(oauth2) => Some(oauth2),
        }
    }

    /// Checks that a request can carry the credentials.
    ///
    /// # Errors
    ///
    /// [`FieldError`]; it names the field below `authentication`, and never repeats its value.
    pub fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Basic(basic) => basic.check(),
            Self::OAuth2(oauth2) => oauth2.check(),
        }
    }
}

impl BasicCredentials {
    /// Both in UTF-8. Source: RFC 7617, 2 and 2.1.
    fn authorization(&self) -> String {
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// Source: RFC 7617, 2: no colon in the user name, and no control characters.
    fn check(&self) -> Result<(), FieldError> {
        let wrong = |field, message: String| {
            Err(FieldError::new(format!("authentication.basic.{field}"), message))
        };
        let Self { username, password } = self;
        if username.contains(':') {
            return wrong("username", "a user name has no colon: it ends there".to_owned());
        }
        if password == MASK {
            return wrong(
                "password",
                "this is the mask of the stored one; give it anew".to_owned(),
            );
        }
        if username.is_empty() && password.is_empty() {
            return wrong("username", "user name and password are empty".to_owned());
        }
        for (field, value, max) in
            [("username", username, MAX_USERNAME_CHARS), ("password", password, MAX_PASSWORD_CHARS)]
        {
            if value.chars().count() > max {
                return wrong(field, format!("has more than {max} characters"));
            }
            if value.chars().any(char::is_control) {
                return wrong(field, "has control characters".to_owned());
            }
        }
        Ok(())
    }
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Authentication {
        let (username, password) = (username.to_owned(), password.to_owned());
        Authentication::Basic(BasicCredentials { username, password })
    }

    #[test]
    fn basic_credentials_are_encoded_as_the_standard_shows() {
        // Source: RFC 7617, 2 and 2.1.
        let aladdin = basic("Aladdin", "open sesame");
        let sent = |basic: &Authentication| basic.authorization().unwrap();
        assert_eq!(sent(&aladdin), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(sent(&basic("test", "123£")), "Basic dGVzdDoxMjPCow==");
    }

    #[test]
    fn the_password_is_never_printed() {
        let aladdin = basic("Aladdin", "open sesame");
        let printed = format!("{aladdin:?} {:?}", aladdin.masked());
        assert!(printed.contains("Aladdin") && !printed.contains("sesame"), "{printed}");
        let shown = serde_json::to_string(&aladdin.masked()).unwrap();
        assert_eq!(shown, r#"{"basic":{"username":"Aladdin","password":"****"}}"#);
    }

    /// Goal: no answer repeats a secret that was written in the wrong place.
    #[test]
    fn values_of_the_wrong_kind_are_not_repeated() {
        for (given, expected) in [
            (r#""user:s3cret""#, "expected an object: {\"basic\": {…}} or {"),
            (r#"{"basic": "user:s3cret"}"#, "expected an object with `username` and `password`"),
            (r#"{"basic": {"username": "u", "password": 731773}}"#, "expected a string"),
            (r#"{"basic": {"username": true, "password": "s3cret"}}"#, "expected a string"),
        ] {
            let error = serde_json::from_str::<Authentication>(given).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("s3cret") && !error.contains("731773"), "{error}");
        }
    }

    #[test]
    fn credentials_that_no_request_can_carry_are_refused_by_field() {
        let long = "x".repeat(256);
        for (username, password, field) in [
            ("a:b", "c", "username"),
            ("", "", "username"),
            (&*long, "c", "username"),
            ("a\n", "c", "username"),
            ("a", "c\0", "password"),
            ("a", "****", "password"),
            ("a", &*"x".repeat(1_025), "password"),
        ] {
            let error = basic(username, password).check().unwrap_err();
            assert_eq!(error.field, format!("authentication.basic.{field}"));
        }
        for (username, password) in [("a", ""), ("", "token"), ("ä b", ":")] {
            assert_eq!(basic(username, password).check(), Ok(()));
        }
    }
}
