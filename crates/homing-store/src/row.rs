//! A subscription as a row, and a row as a subscription.
//!
//! Reading builds the specification from its parts and not from a draft: a subscription that was
//! accepted stays valid when its schedule is removed from the settings or a limit for new
//! subscriptions is lowered. Secrets are encrypted in the row: see [`Confidential`].

use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::{
    Damaged, Listing, QuotaError,
    confidential::{
        Confidential, check_together, read_authentication, read_certificate, read_secrets,
    },
    error::Corrupt,
    flaw::{Flaw, Flaws, checked, parsed, undecodable},
    keyring::Keyring,
    oauth2_tokens::token_id,
    row_values::{
        read_deadline, read_filters, read_form, read_format, read_headers, read_labels,
        read_max_concurrency, read_rate_limit, read_template, read_topics, read_verification,
        whole_ms,
    },
    statement::{SqlDatabase, Statement, sql},
};
use homing_domain::{
    id::SubscriptionId,
    signature::SigningSecret,
    subscription::{AuthToken, Draft, Subscription, SubscriptionSpec},
    time::UnixMillis,
    topic::TopicPattern,
    url::EndpointUrl,
};

/// The columns of one subscription but its fingerprint.
#[derive(sqlx_macros::FromRow)]
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
    version_updated_ms: Option<i64>,
    /// In clear, to be found by it.
    certificate_expires_ms: Option<i64>,
    deadline_ms: Option<i64>,
    max_concurrency: Option<i64>,
    format: Option<String>,
    /// An object in JSON, as are `labels` and `template`.
    verification: Option<String>,
    owner: Option<String>,
    labels: Option<String>,
    template: Option<String>,
    created_ms: i64,
    updated_ms: i64,
}

/// The result of a write.
pub(super) enum Written {
    Done,
    Missing,
    /// Undone: another change came first.
    Outdated,
    Duplicate(SubscriptionId),
    /// Undone: it could not be read.
    Unreadable(Corrupt),
    /// Undone: there is no room for it.
    OverQuota(QuotaError),
}

fn version_updated(spec: &SubscriptionSpec) -> Option<UnixMillis> {
    spec.workfront.as_ref()?.version_updated
}

/// The filters as they are stored.
pub(super) fn filters(spec: &SubscriptionSpec) -> String {
    Value::from(spec.filters.to_json()).to_string()
}

/// The SHA-256 of the fingerprint in base64; the fingerprint itself is too long for an index. In
/// Workfront's form, a digest by the primary key of one that has the token, too.
pub(super) fn fingerprint(spec: &SubscriptionSpec, keyring: &Keyring) -> String {
    match spec.secret_fingerprint() {
        Some(secret) => STANDARD.encode(keyring.digest(secret.as_bytes())),
        None => public_fingerprint(spec),
    }
}

/// All fingerprints by which a stored subscription may be found that is the same as `spec`: that of
/// the primary key, and of those that still decrypt.
pub(super) fn fingerprints(spec: &SubscriptionSpec, keyring: &Keyring) -> Vec<String> {
    match spec.secret_fingerprint() {
        Some(secret) => {
            keyring.digests(secret.as_bytes()).map(|digest| STANDARD.encode(digest)).collect()
        }
        None => vec![public_fingerprint(spec)],
    }
}

/// The fingerprint without a secret, which one in Workfront's form had before it had a digest by a
/// key.
pub(super) fn public_fingerprint(spec: &SubscriptionSpec) -> String {
    STANDARD.encode(Sha256::digest(spec.fingerprint()))
}

impl SubscriptionRow {
    pub(super) fn of(subscription: &Subscription, keyring: &Keyring) -> sqlx::Result<Self> {
        let Subscription { id, spec, created, updated } = subscription;
        let topics: Vec<_> = spec.topics.iter().map(TopicPattern::as_str).collect();
        let id = id.to_string();
        let certificate = spec.client_certificate.as_ref();
        Ok(Self {
            confidential: Confidential::encrypted(spec, &id, keyring)?,
            id,
            url: spec.url.as_str().to_owned(),
            topics: json!(topics).to_string(),
            filters: filters(spec),
            filter_connector: spec.filters.connector().to_string(),
            schedule: spec.schedule.clone(),
            rate_limit: spec.rate_limit.map(|limit| limit.get().into()),
            description: spec.description.clone(),
            workfront: spec.workfront.as_ref().map(|form| json!(form).to_string()),
            version_updated_ms: version_updated(spec).map(UnixMillis::get),
            certificate_expires_ms: certificate.map(|it| it.expires().get()),
            deadline_ms: spec.deadline.map(whole_ms),
            max_concurrency: spec.max_concurrency.map(|limit| limit.get().into()),
            format: spec.format.other_than_native().map(|format| format.to_string()),
            verification: spec.verification.as_ref().map(|it| json!(it).to_string()),
            owner: spec.owner.clone(),
            labels: (!spec.labels.is_empty()).then(|| json!(spec.labels).to_string()),
            template: spec.template.as_ref().map(|template| json!(template).to_string()),
            created_ms: created.get(),
            updated_ms: updated.get(),
        })
    }
}

/// A row of `subscriptions` as it was found: its columns, or the one that cannot be decoded.
pub(super) struct FoundRow {
    id: SubscriptionId,
    columns: Result<SubscriptionRow, Flaw>,
    /// Where `columns` is a flaw.
    topics: Option<String>,
    updated: UnixMillis,
}

impl<'r, R> FromRow<'r, R> for FoundRow
where
    R: Row,
    SubscriptionRow: FromRow<'r, R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let columns = SubscriptionRow::from_row(row).map_err(undecodable);
        Ok(Self {
            id: parse_id(&row.try_get::<String, _>("id")?)?,
            topics: if columns.is_err() { row.try_get("topics").ok() } else { None },
            updated: UnixMillis::new(row.try_get("updated_ms").unwrap_or_default()),
            columns,
        })
    }
}

impl FoundRow {
    pub(super) fn id(&self) -> SubscriptionId {
        self.id
    }

    /// `None`: its columns cannot be decoded.
    pub(super) fn url(&self) -> Option<&str> {
        self.columns.as_ref().ok().map(|columns| columns.url.as_str())
    }

    /// Reads a subscription, or names the one that is corrupt.
    pub(super) fn read(self, keyring: &Keyring) -> Result<Subscription, Corrupt> {
        let Self { id, columns, topics, updated } = self;
        let corrupt = |Flaw { field, why }, topics| {
            Err(Corrupt { subscription: id, field, why, topics, updated })
        };
        let columns = match columns {
            Ok(columns) => columns,
            Err(flaw) => return corrupt(flaw, topics.and_then(|it| read_topics(&it).ok())),
        };
        let topics = match read_topics(&columns.topics) {
            Ok(topics) => topics,
            Err(flaw) => return corrupt(flaw, None),
        };
        match columns.build(id, keyring) {
            Ok(mut subscription) => {
                subscription.spec.topics = topics;
                Ok(subscription)
            }
            Err(flaw) => corrupt(flaw, Some(topics)),
        }
    }

    /// The parts that can be read; `None`: not even the columns.
    pub(super) fn damaged(self, keyring: &Keyring) -> Option<Damaged> {
        Some(self.columns.ok()?.salvage(keyring))
    }
}

/// A page of `limit` from its rows. One row more was asked for: it shows that there is a next page.
pub(super) fn page(rows: Vec<FoundRow>, limit: u32, keyring: &Keyring) -> Listing {
    let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > on_page;
    let mut listing = Listing::default();
    let mut last = None;
    for row in rows.into_iter().take(on_page) {
        last = Some(row.id);
        match row.read(keyring) {
            Ok(subscription) => listing.subscriptions.push(subscription),
            Err(corrupt) => listing.corrupt.push(corrupt),
        }
    }
    listing.next = last.filter(|_| more);
    listing
}

/// `statement` with the columns of `subscription` but `created_ms`, in the order in which
/// [`INSERT`](super::statements::INSERT) and [`UPDATE`](super::statements::UPDATE) name them.
pub(super) fn bind<DB: SqlDatabase>(
    statement: &'static str,
    subscription: &Subscription,
    keyring: &Keyring,
) -> sqlx::Result<Statement<DB>> {
    let row = SubscriptionRow::of(subscription, keyring)?;
    let statement = sql(statement)
        .bind(row.id)
        .bind(fingerprint(&subscription.spec, keyring))
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
        .bind(row.updated_ms)
        .bind(row.version_updated_ms)
        .bind(row.confidential.authentication)
        .bind(row.confidential.client_certificate)
        .bind(row.certificate_expires_ms)
        .bind(row.deadline_ms)
        .bind(row.max_concurrency)
        .bind(token_id(subscription.spec.authentication.as_ref(), keyring))
        .bind(row.format)
        .bind(row.verification)
        .bind(row.owner)
        .bind(row.labels)
        .bind(row.template);
    Ok(statement)
}

/// Reads an id. The schema accepts only UUIDs, so that every row can be named.
pub(super) fn parse_id(text: &str) -> sqlx::Result<SubscriptionId> {
    text.parse().map_err(sqlx::Error::decode)
}

impl SubscriptionRow {
    /// The subscription without its topics.
    fn build(self, id: SubscriptionId, keyring: &Keyring) -> Result<Subscription, Flaw> {
        let Confidential { auth_token, secrets, headers, authentication, client_certificate } =
            self.confidential.decrypted(&self.id, keyring)?;
        let certificate = client_certificate.as_deref().map(read_certificate);
        let spec = SubscriptionSpec {
            url: parsed("url", &self.url)?,
            topics: Vec::new(),
            filters: read_filters(&self.filters, &self.filter_connector)?,
            auth_token: auth_token.map(|text| checked("auth_token", text)).transpose()?,
            authentication: authentication.as_deref().map(read_authentication).transpose()?,
            client_certificate: certificate.transpose()?,
            secrets: read_secrets(&secrets)?,
            headers: read_headers(&headers)?,
            schedule: self.schedule,
            rate_limit: self.rate_limit.map(read_rate_limit).transpose()?,
            deadline: self.deadline_ms.map(read_deadline).transpose()?,
            max_concurrency: self.max_concurrency.map(read_max_concurrency).transpose()?,
            description: self.description,
            owner: self.owner,
            labels: read_labels(self.labels.as_deref())?,
            workfront: read_form(self.workfront.as_deref(), self.version_updated_ms)?,
            format: read_format(self.format.as_deref())?,
            verification: read_verification(self.verification.as_deref())?,
            template: read_template(self.template.as_deref())?,
        };
        check_together(&spec)?;
        let (created, updated) =
            (UnixMillis::new(self.created_ms), UnixMillis::new(self.updated_ms));
        Ok(Subscription { id, spec, created, updated })
    }

    /// Reads each field by itself.
    fn salvage(self, keyring: &Keyring) -> Damaged {
        let mut flaws = Flaws::default();
        let url: Option<EndpointUrl> = flaws.sort_out(parsed("url", &self.url).map(Some));
        let topics = flaws.sort_out(read_topics(&self.topics));
        let filters = flaws.sort_out(read_filters(&self.filters, &self.filter_connector));
        let confidential = self.confidential.each_decrypted(&self.id, keyring);
        let auth_token = confidential.auth_token.transpose();
        let auth_token = auth_token.and_then(|token| {
            token.map(|text| checked::<AuthToken>("auth_token", text)).transpose()
        });
        let auth_token = flaws.sort_out(auth_token);
        let authentication = confidential.authentication.map(|text| read_authentication(&text?));
        let authentication = flaws.sort_out(authentication.transpose());
        let certificate = confidential.client_certificate.map(|text| read_certificate(&text?));
        let certificate = flaws.sort_out(certificate.transpose());
        let secrets = flaws.sort_out(confidential.secrets.and_then(|text| read_secrets(&text)));
        let headers = flaws.sort_out(confidential.headers.and_then(|text| read_headers(&text)));
        let verification = flaws.sort_out(read_verification(self.verification.as_deref()));
        let draft = Draft {
            url: url.map_or(self.url, |url| url.as_str().to_owned()),
            topics: topics.iter().map(ToString::to_string).collect(),
            filters: filters.to_json(),
            filter_connector: filters.connector(),
            auth_token: auth_token.map(String::from),
            authentication,
            client_certificate: certificate.map(|it| it.reveal().clone()),
            secrets: Some(secrets.iter().map(SigningSecret::reveal).collect()),
            signature_scheme: None,
            headers,
            schedule: self.schedule,
            rate_limit: flaws
                .sort_out(self.rate_limit.map(read_rate_limit).transpose())
                .map(NonZeroU32::get),
            deadline: flaws
                .sort_out(self.deadline_ms.map(read_deadline).transpose())
                .map(Draft::written_deadline),
            max_concurrency: flaws
                .sort_out(self.max_concurrency.map(read_max_concurrency).transpose())
                .map(NonZeroU32::get),
            description: self.description,
            owner: self.owner,
            labels: flaws.sort_out(read_labels(self.labels.as_deref())),
            workfront: flaws
                .sort_out(read_form(self.workfront.as_deref(), self.version_updated_ms)),
            format: flaws.sort_out(read_format(self.format.as_deref())).other_than_native(),
            verification: verification.as_ref().map(|verification| verification.method),
            template: flaws.sort_out(read_template(self.template.as_deref())),
        };
        let (created, updated) =
            (UnixMillis::new(self.created_ms), UnixMillis::new(self.updated_ms));
        let consent = verification.and_then(|verification| verification.consent);
        Damaged { draft, secrets, consent, flaws: flaws.into_errors(), created, updated }
    }
}
