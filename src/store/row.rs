//! A subscription as a row, and a row as a subscription; the same for every backend.
//!
//! Reading builds the terms from their parts and not from a draft: what was accepted once is kept,
//! also when its schedule has gone from the settings or a limit for new subscriptions has sunk.
//! What is secret is encrypted on its way into the row: see [`Confidential`].

use std::{collections::BTreeMap, fmt::Display, num::NonZeroU32, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{
    ColumnIndex, Database, Decode, Encode, FromRow, IntoArguments, Row, Type, query::Query,
};

use super::{
    Listing, StoreError,
    error::Corrupt,
    keyring::{Keyring, KeyringError, Place},
};
use crate::domain::{
    filter::{Connector, FilterSet},
    id::SubscriptionId,
    signature::SigningSecret,
    subscription::{Subscription, Terms},
    time::UnixMillis,
    topic::TopicPattern,
};

/// The columns of one subscription but its fingerprint.
#[derive(FromRow)]
pub(super) struct SubscriptionRow {
    id: String,
    url: String,
    /// A list in JSON, as are `filters`.
    topics: String,
    filters: String,
    filter_connector: String,
    #[sqlx(flatten)]
    confidential: Confidential,
    schedule: Option<String>,
    rate_limit: Option<i64>,
    description: Option<String>,
    /// An object in JSON.
    workfront: Option<String>,
    created_ms: i64,
    updated_ms: i64,
}

/// What became of a write.
pub(super) enum Written {
    Done,
    Missing,
    Duplicate(SubscriptionId),
}

impl Written {
    pub(super) fn into_answer(self, id: SubscriptionId) -> Result<(), StoreError> {
        match self {
            Self::Done => Ok(()),
            Self::Missing => Err(StoreError::NotFound { id }),
            Self::Duplicate(existing) => Err(StoreError::Duplicate { existing }),
        }
    }
}

/// The columns that hold secrets, each encrypted as a whole. No `Debug`: they are clear on the way.
#[derive(FromRow)]
pub(super) struct Confidential {
    pub(super) auth_token: Option<String>,
    /// A list of [`KeptSecret`] in JSON.
    pub(super) secrets: String,
    /// An object of texts in JSON.
    pub(super) headers: String,
}

/// A signing secret inside of its encrypted column.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeptSecret {
    Lasting(String),
    Expiring { secret: String, expires_ms: i64 },
}

impl From<&SigningSecret> for KeptSecret {
    fn from(secret: &SigningSecret) -> Self {
        match secret.expires() {
            None => Self::Lasting(secret.reveal()),
            Some(expires) => Self::Expiring { secret: secret.reveal(), expires_ms: expires.get() },
        }
    }
}

impl Confidential {
    fn encrypted(terms: &Terms, id: &str, keyring: &Keyring) -> Result<Self, KeyringError> {
        let secrets: Vec<_> = terms.secrets.iter().map(KeptSecret::from).collect();
        let clear = Self {
            auth_token: terms.auth_token.as_ref().map(|token| token.reveal().to_owned()),
            secrets: json!(secrets).to_string(),
            headers: json!(terms.headers).to_string(),
        };
        let encrypt = |column, clear: &str| keyring.encrypt(clear, Place { column, row: id });
        clear.map(encrypt)
    }

    fn decrypted(&self, id: &str, keyring: &Keyring) -> Result<Self, Flaw> {
        self.map(|column, kept| {
            let clear = keyring.decrypt(kept, Place { column, row: id });
            clear.map_err(|error| Flaw::new(column, error))
        })
    }

    /// The same with every column encrypted by the primary key; `None`: it is so already. A column
    /// that was never encrypted is taken as it is.
    pub(super) fn renewed(&self, id: &str, keyring: &Keyring) -> Result<Option<Self>, Flaw> {
        let mut kept = [Some(&self.secrets), Some(&self.headers), self.auth_token.as_ref()];
        if kept.iter_mut().flatten().all(|kept| keyring.is_current(kept)) {
            return Ok(None);
        }
        let renew = |column, kept: &str| {
            let place = Place { column, row: id };
            let clear = match keyring.decrypt(kept, place) {
                Err(KeyringError::Clear) => Ok(kept.to_owned()),
                decrypted => decrypted,
            };
            clear
                .and_then(|clear| keyring.encrypt(&clear, place))
                .map_err(|error| Flaw::new(column, error))
        };
        self.map(renew).map(Some)
    }

    fn map<E>(
        &self,
        mut change: impl FnMut(&'static str, &str) -> Result<String, E>,
    ) -> Result<Self, E> {
        let token = self.auth_token.as_deref();
        Ok(Self {
            auth_token: token.map(|token| change("auth_token", token)).transpose()?,
            secrets: change("secrets", &self.secrets)?,
            headers: change("headers", &self.headers)?,
        })
    }
}

/// The SHA-256 of the fingerprint in base64; the fingerprint itself is too long for an index.
pub(super) fn fingerprint(terms: &Terms) -> String {
    STANDARD.encode(Sha256::digest(terms.fingerprint()))
}

impl SubscriptionRow {
    pub(super) fn of(subscription: &Subscription, keyring: &Keyring) -> sqlx::Result<Self> {
        let Subscription { id, terms, created, updated } = subscription;
        let topics: Vec<_> = terms.topics.iter().map(TopicPattern::as_str).collect();
        let id = id.to_string();
        Ok(Self {
            confidential: Confidential::encrypted(terms, &id, keyring)?,
            id,
            url: terms.url.as_str().to_owned(),
            topics: json!(topics).to_string(),
            filters: Value::from(terms.filters.to_json()).to_string(),
            filter_connector: terms.filters.connector().to_string(),
            schedule: terms.schedule.clone(),
            rate_limit: terms.rate_limit.map(|limit| limit.get().into()),
            description: terms.description.clone(),
            workfront: terms.workfront.as_ref().map(|form| json!(form).to_string()),
            created_ms: created.get(),
            updated_ms: updated.get(),
        })
    }
}

/// Reads `row`, which is either a subscription or names the one that is corrupt.
pub(super) fn read<'r, R>(
    row: &'r R,
    keyring: &Keyring,
) -> sqlx::Result<Result<Subscription, Corrupt>>
where
    R: Row,
    SubscriptionRow: FromRow<'r, R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    let id = parse_id(&row.try_get::<String, _>("id")?)?;
    let columns = SubscriptionRow::from_row(row).map_err(undecodable);
    Ok(columns
        .and_then(|columns| columns.build(id, keyring))
        .map_err(|Flaw { field, why }| Corrupt { subscription: id, field, why }))
}

/// The subscriptions of a page of `limit` from its rows, of which one more was asked for: it says
/// whether there is a next page.
pub(super) fn page<'r, R>(rows: &'r [R], limit: u32, keyring: &Keyring) -> sqlx::Result<Listing>
where
    R: Row,
    SubscriptionRow: FromRow<'r, R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut listing = Listing::default();
    let mut last = None;
    for row in rows.iter().take(on_page) {
        match read(row, keyring)? {
            Ok(subscription) => {
                last = Some(subscription.id);
                listing.subscriptions.push(subscription);
            }
            Err(corrupt) => {
                last = Some(corrupt.subscription);
                listing.corrupt.push(corrupt);
            }
        }
    }
    listing.next = last.filter(|_| rows.len() > on_page);
    Ok(listing)
}

/// `statement` with the columns of `subscription` but `created_ms`, in the order in which
/// [`INSERT`](super::statements::INSERT) and [`UPDATE`](super::statements::UPDATE) name them.
pub(super) fn bind<DB: Database>(
    statement: &'static str,
    subscription: &Subscription,
    keyring: &Keyring,
) -> sqlx::Result<Query<'static, DB, DB::Arguments>>
where
    DB::Arguments: IntoArguments<DB>,
    String: Encode<'static, DB> + Type<DB>,
    Option<String>: Encode<'static, DB> + Type<DB>,
    i64: Encode<'static, DB> + Type<DB>,
    Option<i64>: Encode<'static, DB> + Type<DB>,
{
    let row = SubscriptionRow::of(subscription, keyring)?;
    let query = sqlx::query(statement)
        .bind(row.id)
        .bind(fingerprint(&subscription.terms))
        .bind(row.url)
        .bind(row.topics)
        .bind(row.filters)
        .bind(row.filter_connector)
        .bind(row.confidential.auth_token)
        .bind(row.confidential.secrets)
        .bind(row.confidential.headers)
        .bind(row.schedule)
        .bind(row.rate_limit)
        .bind(row.description)
        .bind(row.workfront)
        .bind(row.updated_ms);
    Ok(query)
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
    fn build(self, id: SubscriptionId, keyring: &Keyring) -> Result<Subscription, Flaw> {
        let topics = self.read_topics()?;
        let Confidential { auth_token, secrets, headers } =
            self.confidential.decrypted(&self.id, keyring)?;
        let terms = Terms {
            url: parsed("url", &self.url)?,
            topics,
            filters: read_filters(&self.filters, &self.filter_connector)?,
            auth_token: auth_token.map(|text| checked("auth_token", text)).transpose()?,
            secrets: read_secrets(&secrets)?,
            headers: json::<BTreeMap<_, _>>("headers", &headers, "an object of strings")?,
            schedule: self.schedule,
            rate_limit: self.rate_limit.map(read_rate_limit).transpose()?,
            description: self.description,
            workfront: match self.workfront.as_deref() {
                Some(form) => Some(json("workfront", form, "a form of Workfront's")?),
                None => None,
            },
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

fn read_rate_limit(limit: i64) -> Result<NonZeroU32, Flaw> {
    let limit = u32::try_from(limit).ok().and_then(NonZeroU32::new);
    limit.ok_or_else(|| Flaw::new("rate_limit", "is no number of requests per second"))
}

fn read_secrets(secrets: &str) -> Result<Vec<SigningSecret>, Flaw> {
    let secrets: Vec<KeptSecret> = json("secrets", secrets, "a list of secrets")?;
    let secret = |(index, kept)| {
        let (text, expires) = match kept {
            KeptSecret::Lasting(text) => (text, None),
            KeptSecret::Expiring { secret, expires_ms } => {
                (secret, Some(UnixMillis::new(expires_ms)))
            }
        };
        let secret: SigningSecret = checked(&format!("secrets[{index}]"), text)?;
        Ok(secret.with_expiry(expires))
    };
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
