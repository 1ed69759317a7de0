//! A subscription as a row, and a row as a subscription; the same for every backend.
//!
//! Reading builds the terms from their parts and not from a draft: what was accepted once is kept,
//! also when its schedule has gone from the settings or a limit for new subscriptions has sunk.

use std::{collections::BTreeMap, fmt::Display, num::NonZeroU32, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::error::Corrupt;
use crate::domain::{
    filter::{Connector, FilterSet},
    id::SubscriptionId,
    signature::SigningSecret,
    subscription::{Subscription, Terms},
    time::UnixMillis,
    topic::TopicPattern,
};

/// The columns of one subscription but its fingerprint. No `Debug`: it holds secrets.
#[derive(FromRow)]
pub(super) struct SubscriptionRow {
    pub(super) id: String,
    pub(super) url: String,
    /// A list in JSON, as are `filters` and `secrets`.
    pub(super) topics: String,
    pub(super) filters: String,
    pub(super) filter_connector: String,
    pub(super) auth_token: Option<String>,
    pub(super) secrets: String,
    /// An object in JSON.
    pub(super) headers: String,
    pub(super) schedule: Option<String>,
    pub(super) rate_limit: Option<u32>,
    pub(super) description: Option<String>,
    created_ms: i64,
    pub(super) updated_ms: i64,
}

/// The SHA-256 of the fingerprint in base64; the fingerprint itself is too long for an index.
pub(super) fn fingerprint(terms: &Terms) -> String {
    STANDARD.encode(Sha256::digest(terms.fingerprint()))
}

impl From<&Subscription> for SubscriptionRow {
    fn from(subscription: &Subscription) -> Self {
        let Subscription { id, terms, created, updated } = subscription;
        let topics: Vec<_> = terms.topics.iter().map(TopicPattern::as_str).collect();
        let secrets: Vec<_> = terms.secrets.iter().map(SigningSecret::reveal).collect();
        Self {
            id: id.to_string(),
            url: terms.url.as_str().to_owned(),
            topics: json!(topics).to_string(),
            filters: Value::from(terms.filters.to_json()).to_string(),
            filter_connector: terms.filters.connector().to_string(),
            auth_token: terms.auth_token.as_ref().map(|token| token.reveal().to_owned()),
            secrets: json!(secrets).to_string(),
            headers: json!(terms.headers).to_string(),
            schedule: terms.schedule.clone(),
            rate_limit: terms.rate_limit.map(NonZeroU32::get),
            description: terms.description.clone(),
            created_ms: created.get(),
            updated_ms: updated.get(),
        }
    }
}

/// Reads `row`, which is either a subscription or names the one that is corrupt.
pub(super) fn read<'r, R>(row: &'r R) -> sqlx::Result<Result<Subscription, Corrupt>>
where
    R: Row,
    SubscriptionRow: FromRow<'r, R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    let id = parse_id(&row.try_get::<String, _>("id")?)?;
    let columns = SubscriptionRow::from_row(row).map_err(undecodable);
    Ok(columns.and_then(|columns| columns.build(id)).map_err(|Flaw { field, why }| Corrupt {
        subscription: id,
        field,
        why,
    }))
}

/// The schema lets nothing but UUIDs in, so that every row can be named.
pub(super) fn parse_id(text: &str) -> sqlx::Result<SubscriptionId> {
    text.parse().map_err(sqlx::Error::decode)
}

/// What is wrong with one column.
pub(super) struct Flaw {
    pub(super) field: String,
    pub(super) why: String,
}

impl Flaw {
    pub(super) fn new(field: impl Into<String>, why: impl Display) -> Self {
        Self { field: field.into(), why: why.to_string() }
    }
}

pub(super) fn undecodable(error: sqlx::Error) -> Flaw {
    if let sqlx::Error::ColumnDecode { index, source } = error {
        Flaw::new(index.trim_matches('"'), source)
    } else {
        Flaw::new("row", error)
    }
}

impl SubscriptionRow {
    fn build(self, id: SubscriptionId) -> Result<Subscription, Flaw> {
        let topics = self.read_topics()?;
        let terms = Terms {
            url: parsed("url", &self.url)?,
            topics,
            filters: read_filters(&self.filters, &self.filter_connector)?,
            auth_token: self.auth_token.map(|text| checked("auth_token", text)).transpose()?,
            secrets: read_secrets(&self.secrets)?,
            headers: json::<BTreeMap<_, _>>("headers", &self.headers, "an object of strings")?,
            schedule: self.schedule,
            rate_limit: self.rate_limit.and_then(NonZeroU32::new),
            description: self.description,
        };
        let (created, updated) =
            (UnixMillis::new(self.created_ms), UnixMillis::new(self.updated_ms));
        Ok(Subscription { id, terms, created, updated })
    }

    fn read_topics(&self) -> Result<Vec<TopicPattern>, Flaw> {
        let topics: Vec<String> = json("topics", &self.topics, "a list of strings")?;
        if topics.is_empty() {
            return Err(Flaw::new("topics", "is empty"));
        }
        let pattern = |(index, text): (usize, &String)| parsed(&format!("topics[{index}]"), text);
        topics.iter().enumerate().map(pattern).collect()
    }
}

fn read_filters(filters: &str, connector: &str) -> Result<FilterSet, Flaw> {
    let connector = [Connector::And, Connector::Or]
        .into_iter()
        .find(|known| known.as_str() == connector)
        .ok_or_else(|| Flaw::new("filter_connector", "is neither AND nor OR"))?;
    let filters: Vec<Value> = json("filters", filters, "a list")?;
    FilterSet::from_json(&filters, connector).map_err(|error| Flaw::new(error.field(), &error))
}

fn read_secrets(secrets: &str) -> Result<Vec<SigningSecret>, Flaw> {
    let secrets: Vec<String> = json("secrets", secrets, "a list of strings")?;
    let secret = |(index, text)| checked(&format!("secrets[{index}]"), text);
    secrets.into_iter().enumerate().map(secret).collect()
}

/// Says what was expected, never what was found: it may be secret.
pub(super) fn json<T: DeserializeOwned>(
    field: &str,
    text: &str,
    expected: &str,
) -> Result<T, Flaw> {
    serde_json::from_str(text).map_err(|_| Flaw::new(field, format!("is not {expected}")))
}

pub(super) fn parsed<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Flaw> {
    text.parse().map_err(|error| Flaw::new(field, error))
}

fn checked<T: TryFrom<String, Error: Display>>(field: &str, text: String) -> Result<T, Flaw> {
    T::try_from(text).map_err(|error| Flaw::new(field, error))
}
