//! Errors of a homing that is reached over its API.

use std::io;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::cli::failure::{Exit, Failure};

/// The reason why a command over the API failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum RemoteError {
    /// The URL is none.
    #[error(
        "`{text}` is no URL of an API: {why}; write it as https://host, or http://127.0.0.1:8080"
    )]
    Url {
        /// As given.
        text: String,
        /// The error.
        why: String,
    },
    /// The file with the token cannot be read.
    #[error("cannot read the token in {file}")]
    TokenFile {
        /// Its path.
        file: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{file} holds no token: it takes one line, as `homing tokens create` prints it")]
    Token {
        /// Its path.
        file: String,
    },
    /// The API does not answer.
    #[error("{api} does not answer")]
    Unreachable {
        /// Its URL.
        api: String,
        /// The error of the client.
        #[source]
        source: reqwest::Error,
    },
    /// Something else than homing's API answers.
    #[error("{api} is no homing of this version: {why}")]
    Foreign {
        /// Its URL.
        api: String,
        /// The difference.
        why: String,
    },
    /// The API refused, or failed.
    #[error("{detail}{}", .advice.unwrap_or_default())]
    Problem {
        /// The HTTP status.
        status: StatusCode,
        /// The problem and its remedy.
        detail: String,
        /// The remedy at this end.
        advice: Option<&'static str>,
    },
}

/// The part of a problem document (RFC 9457) that is shown.
#[derive(Deserialize)]
struct Document {
    detail: String,
}

impl RemoteError {
    /// The error of an answer with this status.
    pub(super) fn of_answer(api: &str, status: StatusCode, body: &[u8], has_token: bool) -> Self {
        let Ok(Document { detail }) = serde_json::from_slice(body) else {
            return Self::Foreign { api: api.to_owned(), why: format!("it answers {status}") };
        };
        let advice = match (status, has_token) {
            (StatusCode::UNAUTHORIZED, false) => {
                Some("; give it with --token-file FILE (`homing tokens create NAME` makes one)")
            }
            (StatusCode::UNAUTHORIZED, true) => {
                Some("; the token in the file is none of its tokens (`homing tokens list`)")
            }
            _ => None,
        };
        Self::Problem { status, detail, advice }
    }

    /// The exit code.
    pub(in crate::cli) fn exit(&self) -> Exit {
        match self {
            Self::Url { .. } | Self::TokenFile { .. } | Self::Token { .. } => Exit::Misused,
            Self::Problem { status, .. } if *status == StatusCode::BAD_REQUEST => Exit::Misused,
            Self::Unreachable { .. } | Self::Foreign { .. } | Self::Problem { .. } => Exit::Failed,
        }
    }

    /// True if nothing has this address, or the object does not exist.
    pub(in crate::cli) fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// True if the same request would fail again.
    pub(in crate::cli) fn is_final(&self) -> bool {
        match self {
            Self::Problem { status, .. } => {
                status.is_client_error()
                    && !matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Url { .. } | Self::TokenFile { .. } | Self::Token { .. } => true,
            Self::Unreachable { .. } | Self::Foreign { .. } => false,
        }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self::Remote(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str, has_token: bool) -> RemoteError {
        let status = StatusCode::from_u16(status).unwrap();
        RemoteError::of_answer("https://a", status, body.as_bytes(), has_token)
    }

    #[test]
    fn a_problem_is_reported_as_the_api_words_it() {
        let body = r#"{"type":"urn:homing:problem:invalid","title":"x","status":400,"detail":"`url`: not a URL","errors":[]}"#;
        let error = answered(400, body, true);
        assert_eq!((error.to_string().as_str(), error.exit()), ("`url`: not a URL", Exit::Misused));
        assert!(error.is_final());
        let body = r#"{"detail":"no token"}"#;
        insta::assert_snapshot!(answered(401, body, false), @"no token; give it with --token-file FILE (`homing tokens create NAME` makes one)");
        insta::assert_snapshot!(answered(401, body, true), @"no token; the token in the file is none of its tokens (`homing tokens list`)");
        let busy = answered(503, body, true);
        assert!(!busy.is_final() && busy.exit() == Exit::Failed);
    }

    #[test]
    fn what_is_no_homing_is_named() {
        insta::assert_snapshot!(answered(502, "<html>", true), @"https://a is no homing of this version: it answers 502 Bad Gateway");
    }
}
