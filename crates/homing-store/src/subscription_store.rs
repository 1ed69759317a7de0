//! Subscriptions in a database.

use async_trait::async_trait;

use super::{
    StoreError, audit,
    backend::{Backend, SqlStore, ask},
    row::{self, FoundRow, Written, parse_id},
    statement::{SqlDatabase, Statement, Tx, sql},
    statements::{
        AT_URL, BEHIND, BY_FINGERPRINT, BY_ID, CENSUS, CHANGED, DRIFTED, EXPIRING_CERTIFICATES,
        INSERT, RECOUNT, REMOVE, REMOVED, TOTALS, UPDATE, UPDATED, VERSION,
    },
    subscriptions::{
        Census, Changes, Damaged, ExpiringCertificate, Listing, MAX_PAGE_LIMIT, Page, Snapshot,
        SubscriptionStore, Totals, reaches,
    },
};
use homing_domain::{
    audit::{Action, Change, ObjectKind},
    id::SubscriptionId,
    subscription::{Subscription, SubscriptionSpec},
    time::UnixMillis,
    url::EndpointUrl,
};

#[async_trait]
impl<B: Backend> SubscriptionStore for SqlStore<B> {
    async fn insert_subscription(&self, subscription: &Subscription) -> Result<(), StoreError> {
        let written = self.ask("adding a subscription", self.insert(subscription)).await?;
        written.into_answer(subscription.id)
    }

    async fn update_subscription(
        &self,
        subscription: &Subscription,
        read: UnixMillis,
    ) -> Result<(), StoreError> {
        let written = self.ask("changing a subscription", self.update(subscription, read)).await?;
        written.into_answer(subscription.id)
    }

    async fn remove_subscription(&self, id: SubscriptionId) -> Result<bool, StoreError> {
        let removed = async {
            let mut transaction = self.begin_exclusive().await?;
            let before = self.before(id, &mut transaction).await?;
            let removed = sql(REMOVE).bind(id.to_string()).execute(&mut transaction).await? > 0;
            if removed {
                let change = changed(id, Action::Deleted, before.as_ref(), None);
                self.note(&mut transaction, &change).await?;
            }
            transaction.commit().await?;
            Ok(removed)
        };
        self.ask("removing a subscription", removed).await
    }

    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>, StoreError> {
        let row = self.optional::<FoundRow>(sql(BY_ID).bind(id.to_string()));
        let row = self.ask("reading a subscription", row).await?;
        let read = row.map(|row| row.read(&self.keyring)).transpose();
        read.map_err(|corrupt| StoreError::Corrupt(Box::new(corrupt)))
    }

    async fn damaged_subscription(
        &self,
        id: SubscriptionId,
    ) -> Result<Option<Damaged>, StoreError> {
        let row = self.optional::<FoundRow>(sql(BY_ID).bind(id.to_string()));
        let row = self.ask("reading a subscription", row).await?;
        Ok(row.and_then(|row| row.damaged(&self.keyring)))
    }

    async fn subscriptions(&self, page: Page) -> Result<Listing, StoreError> {
        let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
        let rows = self.all(behind(BEHIND, page.after, limit));
        let rows = self.ask("listing subscriptions", rows).await?;
        Ok(row::page(rows, limit, &self.keyring))
    }

    async fn subscriptions_at(&self, url: &EndpointUrl, page: Page) -> Result<Listing, StoreError> {
        let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
        let rows = self.all(behind(AT_URL, page.after, limit).bind(url.as_str()));
        let rows = self.ask("listing the subscriptions of a URL", rows).await?;
        Ok(row::page(rows, limit, &self.keyring))
    }

    async fn all_subscriptions(&self) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot::default();
        let begun = async {
            let mut transaction = self.begin_snapshot().await?;
            (snapshot.version,) = sql(VERSION).one(&mut transaction).await?;
            Ok(transaction)
        };
        let mut transaction = self.ask("beginning to read all subscriptions", begun).await?;
        let mut after = None;
        loop {
            let rows = behind(BEHIND, after, MAX_PAGE_LIMIT).all(&mut transaction);
            let rows = ask::<B, _>("reading all subscriptions", rows).await?;
            let page = row::page(rows, MAX_PAGE_LIMIT, &self.keyring);
            snapshot.subscriptions.extend(page.subscriptions);
            snapshot.corrupt.extend(page.corrupt);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        ask::<B, _>("ending to read all subscriptions", transaction.rollback()).await?;
        Ok(snapshot)
    }

    async fn changed_subscriptions(&self, since: i64) -> Result<Option<Changes>, StoreError> {
        self.ask("reading what has changed", self.read_changes(since)).await
    }

    async fn expiring_certificates(
        &self,
        before: UnixMillis,
        limit: u32,
    ) -> Result<Vec<ExpiringCertificate>, StoreError> {
        let found = async {
            let rows = sql(EXPIRING_CERTIFICATES).bind(before.get()).bind(i64::from(limit));
            let rows = self.all::<(String, String, i64)>(rows).await?;
            let read = |(id, url, expires): (String, String, i64)| {
                let (subscription, expires) = (parse_id(&id)?, UnixMillis::new(expires));
                Ok(ExpiringCertificate { subscription, url, expires })
            };
            rows.into_iter().map(read).collect()
        };
        self.ask("reading which certificates expire", found).await
    }

    async fn count_subscriptions(&self) -> Result<u64, StoreError> {
        let totals = self.one::<Totals>(sql(TOTALS));
        Ok(self.ask("counting subscriptions", totals).await?.number())
    }

    async fn recount_subscriptions(&self) -> Result<Census, StoreError> {
        let recounted = async {
            // Writers wait only if the totals have drifted, which is rare.
            let (drifted,) = self.one::<(i64,)>(sql(DRIFTED)).await?;
            if drifted == 0 {
                return self.one(sql(CENSUS)).await;
            }
            let mut transaction = self.begin_exclusive().await?;
            sql(RECOUNT).execute(&mut transaction).await?;
            let census = sql(CENSUS).one(&mut transaction).await?;
            transaction.commit().await?;
            Ok(census)
        };
        self.ask("counting the subscriptions anew", recounted).await
    }

    async fn subscriptions_version(&self) -> Result<i64, StoreError> {
        let version = self.one(sql(VERSION));
        let (version,) = self.ask("reading the version of the subscriptions", version).await?;
        Ok(version)
    }
}

impl<B: Backend> SqlStore<B> {
    async fn insert(&self, subscription: &Subscription) -> sqlx::Result<Written> {
        let mut transaction = self.begin_exclusive().await?;
        if let Some(existing) = self.same(&subscription.spec, None, &mut transaction).await? {
            transaction.rollback().await?;
            return Ok(Written::Duplicate(existing));
        }
        let before = sql(TOTALS).one(&mut transaction).await?;
        self.note_key(&mut transaction).await?;
        let insert = row::bind(INSERT, subscription, &self.keyring)?;
        insert.bind(subscription.created.get()).execute(&mut transaction).await?;
        let change = changed(subscription.id, Action::Created, None, Some(subscription));
        self.note(&mut transaction, &change).await?;
        self.commit(subscription, before, transaction).await
    }

    async fn update(&self, subscription: &Subscription, read: UnixMillis) -> sqlx::Result<Written> {
        let mut transaction = self.begin_exclusive().await?;
        let updated = sql(UPDATED).bind(subscription.id.to_string());
        let updated: Option<(i64,)> = updated.optional(&mut transaction).await?;
        if updated != Some((read.get(),)) {
            transaction.rollback().await?;
            return Ok(updated.map_or(Written::Missing, |_later| Written::Outdated));
        }
        let same = self.same(&subscription.spec, Some(subscription.id), &mut transaction).await?;
        if let Some(other) = same {
            transaction.rollback().await?;
            return Ok(Written::Duplicate(other));
        }
        let totals = sql(TOTALS).one(&mut transaction).await?;
        let before = self.before(subscription.id, &mut transaction).await?;
        self.note_key(&mut transaction).await?;
        let update = row::bind(UPDATE, subscription, &self.keyring)?;
        update.execute(&mut transaction).await?;
        let (before, after) = (before.as_ref(), Some(subscription));
        let change = changed(subscription.id, Action::Updated, before, after);
        if before.is_none() || !change.difference.is_empty() {
            self.note(&mut transaction, &change).await?;
        }
        self.commit(subscription, totals, transaction).await
    }

    /// The subscription, other than `but`, that is the same as one with this specification.
    async fn same(
        &self,
        spec: &SubscriptionSpec,
        but: Option<SubscriptionId>,
        transaction: &mut Tx<B::Database>,
    ) -> sqlx::Result<Option<SubscriptionId>> {
        for fingerprint in row::fingerprints(spec, &self.keyring) {
            let same =
                by_fingerprint(fingerprint, transaction).await?.filter(|id| Some(*id) != but);
            if same.is_some() {
                return Ok(same);
            }
        }
        let Some(secret) = spec.secret_fingerprint() else { return Ok(None) };
        // One of an earlier homing has a fingerprint without the token.
        let former = by_fingerprint(row::public_fingerprint(spec), transaction).await?;
        let Some(former) = former.filter(|id| Some(*id) != but) else { return Ok(None) };
        let read = self.before(former, transaction).await?;
        let is_same = read.is_none_or(|read| read.spec.secret_fingerprint() == Some(secret));
        Ok(is_same.then_some(former))
    }

    /// A subscription before it is changed; `None`: there is none that can be read.
    async fn before(
        &self,
        id: SubscriptionId,
        transaction: &mut Tx<B::Database>,
    ) -> sqlx::Result<Option<Subscription>> {
        let found: Option<FoundRow> = sql(BY_ID).bind(id.to_string()).optional(transaction).await?;
        Ok(found.and_then(|row| row.read(&self.keyring).ok()))
    }

    /// Commits a subscription that was written, if it can be read back and there is room for it.
    async fn commit(
        &self,
        subscription: &Subscription,
        before: Totals,
        mut transaction: Tx<B::Database>,
    ) -> sqlx::Result<Written> {
        let after = sql(TOTALS).one(&mut transaction).await?;
        let filter_bytes = row::filters(&subscription.spec).len();
        let written = sql(BY_ID).bind(subscription.id.to_string());
        let written: FoundRow = written.one(&mut transaction).await?;
        let refused = match written.read(&self.keyring) {
            Err(corrupt) => Some(Written::Unreadable(corrupt)),
            Ok(_) => self.quotas.check(before, after, filter_bytes).err().map(Written::OverQuota),
        };
        match refused {
            Some(refused) => transaction.rollback().await.map(|()| refused),
            None => transaction.commit().await.map(|()| Written::Done),
        }
    }

    async fn read_changes(&self, since: i64) -> sqlx::Result<Option<Changes>> {
        let mut transaction = self.begin_snapshot().await?;
        let (version,) = sql(VERSION).one(&mut transaction).await?;
        if !reaches(since, version) {
            transaction.rollback().await?;
            return Ok(None);
        }
        let rows = sql(CHANGED).bind(since).all(&mut transaction).await?;
        let removed: Vec<(String,)> = sql(REMOVED).bind(since).all(&mut transaction).await?;
        let totals: Totals = sql(TOTALS).one(&mut transaction).await?;
        transaction.rollback().await?;
        let Listing { subscriptions, corrupt, .. } = row::page(rows, u32::MAX, &self.keyring);
        let removed = removed.iter().map(|(id,)| parse_id(id)).collect::<Result<_, _>>()?;
        let number = totals.number();
        Ok(Some(Changes { version, subscriptions, corrupt, removed, number }))
    }
}

/// The record of a change of a subscription.
fn changed(
    id: SubscriptionId,
    action: Action,
    before: Option<&Subscription>,
    after: Option<&Subscription>,
) -> Change {
    let change = Change::new(ObjectKind::Subscription, id.to_string(), action);
    change.with(audit::subscription(before, after))
}

async fn by_fingerprint<DB: SqlDatabase>(
    fingerprint: String,
    transaction: &mut Tx<DB>,
) -> sqlx::Result<Option<SubscriptionId>> {
    let found = sql(BY_FINGERPRINT).bind(fingerprint);
    let found: Option<(String,)> = found.optional(transaction).await?;
    found.map(|(id,)| parse_id(&id)).transpose()
}

/// `statement` for the page behind `after` and one row more.
pub(super) fn behind<DB: SqlDatabase>(
    statement: &'static str,
    after: Option<SubscriptionId>,
    limit: u32,
) -> Statement<DB> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    sql(statement).bind(after).bind(i64::from(limit).saturating_add(1))
}
