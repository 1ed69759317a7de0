//! The parameters of a query, as the types that a handler names.

use std::{fmt, str::FromStr};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use url::form_urlencoded;

use crate::web::{
    parameters::{Texts, fields, read},
    problem::Problem,
};
use homing_domain::{
    subscription::FieldError,
    text::{parsed, parsed_by},
};
use homing_store::MAX_PAGE_LIMIT;

/// Nothing that is kept has it, and PostgreSQL takes no text with it.
pub(crate) const NUL: &str = "has the character NUL";

/// The parameters of a query, each known and given once, as one value or as two. All fields of
/// both have defaults.
#[derive(Debug)]
pub(crate) struct Query<A, B = Nothing>(pub(crate) A, pub(crate) B);

/// No parameters.
#[derive(Debug, Deserialize)]
pub(crate) struct Nothing {}

/// Refuses every parameter; for addresses that have none.
pub(crate) type NoParameters = Query<Nothing>;

impl<S, A, B> FromRequestParts<S> for Query<A, B>
where
    S: Send + Sync,
    A: DeserializeOwned,
    B: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(parts.uri.query().unwrap_or_default()).map_err(Problem::field)
    }
}

impl<A: DeserializeOwned, B: DeserializeOwned> Query<A, B> {
    fn of(query: &str) -> Result<Self, FieldError> {
        let known = [fields::<A>(), fields::<B>()].concat();
        let mut texts = Texts::new();
        for (name, text) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = |message: String| {
                let name: String = name.chars().take(64).collect();
                Err(FieldError::new(name, message))
            };
            if !known.contains(&name.as_ref()) {
                return wrong(match &known[..] {
                    [] => "no such parameter; this address has none".to_owned(),
                    known => format!("no such parameter; one of {}", present(known).join(", ")),
                });
            }
            if text.contains(char::REPLACEMENT_CHARACTER) {
                return wrong("not UTF-8".to_owned());
            }
            if text.contains('\0') {
                return wrong(NUL.to_owned());
            }
            if texts.insert(name.to_string(), text.into_owned()).is_some() {
                return wrong("given more than once".to_owned());
            }
        }
        Ok(Self(read(&texts)?, read(&texts)?))
    }
}

/// The names without those of earlier versions, which are read as well.
fn present<'a>(known: &[&'a str]) -> Vec<&'a str> {
    known.iter().copied().filter(|name| !name.ends_with("_ms")).collect()
}

/// The part of a list that a request reads.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: FromStr<Err: fmt::Display>")]
pub(crate) struct Paging<T> {
    /// Begin behind this one.
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) after: Option<T>,
    #[serde(default)]
    pub(crate) limit: UpTo<MAX_PAGE_LIMIT, 100>,
}

/// The length of a list without pages.
#[derive(Debug, Deserialize)]
pub(crate) struct Size {
    #[serde(default)]
    pub(crate) limit: UpTo<MAX_PAGE_LIMIT, 100>,
}

/// A number from 1 to `MAX`, by default `DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpTo<const MAX: u32, const DEFAULT: u32>(pub(crate) u32);

impl<const MAX: u32, const DEFAULT: u32> Default for UpTo<MAX, DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

/// The text is not such a number.
pub(crate) struct OutOfRange {
    max: u32,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number from 1 to {}", self.max)
    }
}

impl<const MAX: u32, const DEFAULT: u32> FromStr for UpTo<MAX, DEFAULT> {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let number = text.parse().ok().filter(|number| (1..=MAX).contains(number));
        number.map(Self).ok_or(OutOfRange { max: MAX })
    }
}

impl<'de, const MAX: u32, const DEFAULT: u32> Deserialize<'de> for UpTo<MAX, DEFAULT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer).map(Option::unwrap_or_default)
    }
}

/// Reads a boolean.
pub(crate) fn yes_or_no<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let parse = |text: &str| text.parse().map_err(|_| "`true` or `false`");
    parsed_by(deserializer, parse).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::id::SubscriptionId;

    type Page = Paging<SubscriptionId>;

    #[derive(Debug, Deserialize)]
    struct Options {
        #[serde(default, deserialize_with = "yes_or_no")]
        all: bool,
    }

    fn shown<A: fmt::Debug, B: fmt::Debug>(query: Result<Query<A, B>, FieldError>) -> String {
        let FieldError { field, message } = query.expect_err("refused");
        format!("{field}: {message}")
    }

    fn error(query: &str) -> String {
        shown(Query::<Page, Options>::of(query))
    }

    #[test]
    fn parameters_are_known_and_given_once() {
        insta::assert_snapshot!(error("page=2"), @"page: no such parameter; one of after, limit, all");
        insta::assert_snapshot!(error("limit=1&limit=2"), @"limit: given more than once");
        insta::assert_snapshot!(error("after=%ff"), @"after: not UTF-8");
        insta::assert_snapshot!(error("after=%00"), @"after: has the character NUL");
        insta::assert_snapshot!(error("after=x"), @"after: `x` is not a subscription id (a UUID such as 01931f5a-9c4e-7000-8000-0123456789ab)");
        insta::assert_snapshot!(error("all=yes"), @"all: `true` or `false`");
        let none = shown(NoParameters::of("x=1"));
        insta::assert_snapshot!(none, @"x: no such parameter; this address has none");
    }

    #[test]
    fn booleans_are_read() {
        let all = |query| Query::<Page, Options>::of(query).unwrap().1.all;
        assert_eq!([all(""), all("all=false"), all("all=true")], [false, false, true]);
    }

    #[test]
    fn numbers_have_a_range_and_a_default() {
        let limit = |query| Query::<Page, Options>::of(query).unwrap().0.limit.0;
        assert_eq!((limit(""), limit("limit=1000")), (100, 1_000));
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit="] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(error(query), @"limit: a number from 1 to 1000");
            }
        }
    }
}
