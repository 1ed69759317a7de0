//! The parameters of a query, or the fields of a form.

use std::{fmt::Display, str::FromStr};

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::{layout::ErrorPage, links::query};
use crate::web::{
    parameters::{Texts, read_all},
    uploads::UploadError,
};

/// The fields whose blanks at the ends count.
const AS_WRITTEN: [&str; 2] = ["basic_password", "oauth2_client_secret"];

/// Names and values, trimmed. Of a duplicate name the last counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Texts);

impl Fields {
    fn of(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text);
        let kept = |name: &str, value: &str| {
            let value = if AS_WRITTEN.contains(&name) { value } else { value.trim() };
            // As the store keeps NUL; PostgreSQL takes no text with it.
            value.replace('\0', "\u{fffd}")
        };
        Self(pairs.map(|(name, value)| (name.to_string(), kept(&name, &value))).collect())
    }

    /// The value of `name`; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The value of `name`, if it was filled in.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// The parsed value of `name`, if it was filled in; an error is added to `wrong`.
    pub(super) fn get<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
        wrong: &mut Wrong,
    ) -> Option<T> {
        let parsed = self.given(name)?.parse();
        parsed.map_err(|error: T::Err| wrong.add(name, error.to_string())).ok()
    }

    /// The fields of `T` that were filled in, without those that are wrong; their errors are added
    /// to `wrong`. All fields of `T` have defaults. Instants are left out: forms write them in further
    /// ways, which `instant` reads.
    pub(super) fn read<T: DeserializeOwned + Default>(&self, wrong: &mut Wrong) -> T {
        let is_instant = |name: &str| matches!(name, "since" | "until");
        let given = self.0.iter().filter(|(name, text)| !text.is_empty() && !is_instant(name));
        let given = given.map(|(name, text)| (name.clone(), text.clone())).collect();
        let (value, errors) = read_all(&given).unwrap_or_default();
        for error in errors {
            wrong.add(&error.field, error.message);
        }
        value
    }

    /// The names of the fields that were filled in.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, text)| !text.is_empty()).map(|(name, _)| name.as_str())
    }

    /// True if a box is ticked.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// The named fields as a query.
    pub(super) fn query(&self, names: &[&str]) -> String {
        let given = names.iter().filter_map(|name| Some((*name, self.given(name)?)));
        query(given)
    }
}

/// The errors of fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Wrong(Vec<(String, String)>);

impl Wrong {
    pub(super) fn add(&mut self, name: &str, message: String) {
        match self.0.iter_mut().find(|(wrong, _)| wrong == name) {
            Some((_, known)) => known.extend(["; ", &message]),
            None => self.0.push((name.to_owned(), message)),
        }
    }

    /// The error of `name`.
    pub(super) fn with(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(wrong, _)| wrong == name).map(|(_, message)| message.as_str())
    }

    /// Adds those of `other` about fields that have none yet.
    pub(super) fn extend_unless_known(&mut self, other: Self) {
        let new = other.0.into_iter().filter(|(name, _)| self.with(name).is_none());
        let new: Vec<_> = new.collect();
        self.0.extend(new);
    }

    /// Adds those of `other`.
    pub(super) fn extend(&mut self, other: Self) {
        other.0.into_iter().for_each(|(name, message)| self.add(&name, message));
    }

    /// The number of fields that are wrong.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ErrorPage;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ErrorPage> {
        if request.method().is_safe() {
            return Ok(Self::of(request.uri().query().unwrap_or_default().as_bytes()));
        }
        // `auth::bounded` has read it.
        let body = to_bytes(request.into_body(), usize::MAX).await;
        body.map(|body| Self::of(&body)).map_err(|_error| UploadError::Broken.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an address or a form with NUL, which anyone can write, is no error of the store.
    #[tokio::test]
    async fn nul_is_read_as_the_store_keeps_it() {
        let address = Request::get("/search?q=a%00b").body(axum::body::Body::empty()).unwrap();
        let form = Request::post("/endpoints/set").body(axum::body::Body::from("q=a%00b")).unwrap();
        for request in [address, form] {
            assert_eq!(Fields::from_request(request, &()).await.unwrap().text("q"), "a\u{fffd}b");
        }
    }

    #[test]
    fn fields_are_read_and_errors_are_kept_by_name() {
        let fields = Fields::of(b"a=1&b=+x%3C+&c=&status=abc&a=2");
        assert_eq!((fields.text("a"), fields.text("b"), fields.given("c")), ("2", "x<", None));
        let mut wrong = Wrong::default();
        assert_eq!(fields.get::<u16>("status", &mut wrong), None);
        assert_eq!(fields.get::<u16>("a", &mut wrong), Some(2));
        assert!(wrong.with("status").is_some() && wrong.with("a").is_none());
        assert_eq!(fields.query(&["c", "b", "a"]), "b=x%3C&a=2");
    }
}
