//! Subscriptions in PostgreSQL.

use async_trait::async_trait;
use futures_util::TryFutureExt;
use sqlx::{PgConnection, Postgres, Transaction, postgres::PgRow};

use super::{BEGIN_SNAPSHOT, LOCK, PostgresStore, ask};
use crate::{
    StoreError,
    keyring::Keyring,
    row::{self, Written, parse_id},
    statements::{
        AT_URL, BEHIND, BY_FINGERPRINT, BY_ID, CENSUS, CHANGED, INSERT, REMOVE, REMOVED, TOTALS,
        UPDATE, UPDATED, VERSION,
    },
    subscriptions::{
        Census, Changes, Damaged, Listing, MAX_PAGE_LIMIT, Page, Snapshot, SubscriptionStore,
        Totals, reaches,
    },
};
use homing_domain::{
    id::SubscriptionId, subscription::Subscription, time::UnixMillis, url::EndpointUrl,
};

const RECOUNT: &str = "\
    UPDATE subscription_totals SET number = counted.number, filter_bytes = counted.filter_bytes \
    FROM (SELECT count(*) AS number, coalesce(sum(octet_length(filters)), 0) \
    AS filter_bytes FROM subscriptions) AS counted \
    WHERE subscription_totals.number <> counted.number \
    OR subscription_totals.filter_bytes <> counted.filter_bytes";

impl PostgresStore {
    /// A transaction that no other writer of subscriptions runs beside.
    pub(super) async fn write(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(LOCK).execute(&mut *transaction).await?;
        Ok(transaction)
    }

    async fn insert(&self, subscription: &Subscription) -> sqlx::Result<Written> {
        let mut transaction = self.write().await?;
        if let Some(existing) = with_fingerprint_of(subscription, &mut transaction).await? {
            transaction.rollback().await?;
            return Ok(Written::Duplicate(existing));
        }
        let before = totals(&mut transaction).await?;
        self.note_key(&mut transaction).await?;
        let insert = row::bind(INSERT, subscription, &self.keyring)?;
        let insert = insert.bind(subscription.created.get());
        insert.execute(&mut *transaction).await?;
        self.keep(subscription, before, transaction).await
    }

    async fn update(&self, subscription: &Subscription, read: UnixMillis) -> sqlx::Result<Written> {
        let mut transaction = self.write().await?;
        let updated = sqlx::query_scalar(UPDATED).bind(subscription.id.to_string());
        let updated: Option<i64> = updated.fetch_optional(&mut *transaction).await?;
        if updated != Some(read.get()) {
            transaction.rollback().await?;
            return Ok(updated.map_or(Written::Missing, |_later| Written::Outdated));
        }
        match with_fingerprint_of(subscription, &mut transaction).await? {
            Some(other) if other != subscription.id => {
                transaction.rollback().await?;
                Ok(Written::Duplicate(other))
            }
            Some(_) | None => {
                let before = totals(&mut transaction).await?;
                self.note_key(&mut transaction).await?;
                let update = row::bind(UPDATE, subscription, &self.keyring)?;
                update.execute(&mut *transaction).await?;
                self.keep(subscription, before, transaction).await
            }
        }
    }

    async fn remove(&self, id: SubscriptionId) -> sqlx::Result<bool> {
        let mut transaction = self.write().await?;
        let removed = sqlx::query(REMOVE).bind(id.to_string()).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(removed.rows_affected() > 0)
    }

    /// Commits what was written, if it can be read back and there is room for it.
    async fn keep(
        &self,
        subscription: &Subscription,
        before: Totals,
        mut transaction: Transaction<'static, Postgres>,
    ) -> sqlx::Result<Written> {
        let after = totals(&mut transaction).await?;
        let filter_bytes = row::filters(&subscription.spec).len();
        let written = sqlx::query(BY_ID).bind(subscription.id.to_string());
        let written = written.fetch_one(&mut *transaction).await?;
        let refused = match row::read(&written, &self.keyring)? {
            Err(corrupt) => Some(Written::Unreadable(corrupt)),
            Ok(_) => self.quotas.check(before, after, filter_bytes).err().map(Written::OverQuota),
        };
        match refused {
            Some(refused) => transaction.rollback().await.map(|()| refused),
            None => transaction.commit().await.map(|()| Written::Done),
        }
    }

    async fn recount(&self) -> sqlx::Result<Census> {
        let mut transaction = self.write().await?;
        sqlx::query(RECOUNT).execute(&mut *transaction).await?;
        let census = sqlx::query_as(CENSUS).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(census)
    }

    async fn read_changes(&self, since: i64) -> sqlx::Result<Option<Changes>> {
        let mut transaction = self.pool.begin_with(BEGIN_SNAPSHOT).await?;
        let version = sqlx::query_scalar(VERSION).fetch_one(&mut *transaction).await?;
        if !reaches(since, version) {
            transaction.rollback().await?;
            return Ok(None);
        }
        let rows = sqlx::query(CHANGED).bind(since).fetch_all(&mut *transaction).await?;
        let removed = sqlx::query_scalar(REMOVED).bind(since);
        let removed: Vec<String> = removed.fetch_all(&mut *transaction).await?;
        let number = totals(&mut transaction).await?.number();
        transaction.rollback().await?;
        let Listing { subscriptions, corrupt, .. } = row::page(&rows, u32::MAX, &self.keyring)?;
        let removed = removed.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
        Ok(Some(Changes { version, subscriptions, corrupt, removed, number }))
    }
}

#[async_trait]
impl SubscriptionStore for PostgresStore {
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
        self.ask("removing a subscription", self.remove(id)).await
    }

    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>, StoreError> {
        let row = sqlx::query(BY_ID).bind(id.to_string()).fetch_optional(&self.pool);
        let read = |row: &PgRow| row::read(row, &self.keyring);
        let read = row.and_then(async |row| row.as_ref().map(read).transpose());
        let read = self.ask("reading a subscription", read).await?;
        read.transpose().map_err(|corrupt| StoreError::Corrupt(Box::new(corrupt)))
    }

    async fn damaged_subscription(
        &self,
        id: SubscriptionId,
    ) -> Result<Option<Damaged>, StoreError> {
        let row = sqlx::query(BY_ID).bind(id.to_string()).fetch_optional(&self.pool);
        let row = self.ask("reading a subscription", row).await?;
        Ok(row.as_ref().and_then(|row| row::damaged(row, &self.keyring)))
    }

    async fn subscriptions(&self, page: Page) -> Result<Listing, StoreError> {
        let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
        let read = async {
            let mut connection = self.pool.acquire().await?;
            read_page(&mut connection, page.after, limit, &self.keyring).await
        };
        self.ask("listing subscriptions", read).await
    }

    async fn subscriptions_at(&self, url: &EndpointUrl, page: Page) -> Result<Listing, StoreError> {
        let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
        let after = page.after.map(|id| id.to_string()).unwrap_or_default();
        let one_more = i64::from(limit).saturating_add(1);
        let rows = sqlx::query(AT_URL).bind(after).bind(one_more).bind(url.as_str());
        let rows = rows.fetch_all(&self.pool);
        let read = rows.and_then(async |rows| row::page(&rows, limit, &self.keyring));
        self.ask("listing the subscriptions of a URL", read).await
    }

    async fn all_subscriptions(&self) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot::default();
        let begun = async {
            let mut transaction = self.pool.begin_with(BEGIN_SNAPSHOT).await?;
            snapshot.version = sqlx::query_scalar(VERSION).fetch_one(&mut *transaction).await?;
            Ok(transaction)
        };
        let mut transaction = self.ask("beginning to read all subscriptions", begun).await?;
        let mut after = None;
        loop {
            let page = read_page(&mut transaction, after, MAX_PAGE_LIMIT, &self.keyring);
            let page = ask("reading all subscriptions", page).await?;
            snapshot.subscriptions.extend(page.subscriptions);
            snapshot.corrupt.extend(page.corrupt);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        ask("ending to read all subscriptions", transaction.rollback()).await?;
        Ok(snapshot)
    }

    async fn changed_subscriptions(&self, since: i64) -> Result<Option<Changes>, StoreError> {
        self.ask("reading what has changed", self.read_changes(since)).await
    }

    async fn count_subscriptions(&self) -> Result<u64, StoreError> {
        let count = async {
            let mut connection = self.pool.acquire().await?;
            totals(&mut connection).await
        };
        Ok(self.ask("counting subscriptions", count).await?.number())
    }

    async fn recount_subscriptions(&self) -> Result<Census, StoreError> {
        self.ask("counting the subscriptions anew", self.recount()).await
    }

    async fn subscriptions_version(&self) -> Result<i64, StoreError> {
        let version = sqlx::query_scalar(VERSION).fetch_one(&self.pool);
        self.ask("reading the version of the subscriptions", version).await
    }
}

async fn totals(connection: &mut PgConnection) -> sqlx::Result<Totals> {
    sqlx::query_as(TOTALS).fetch_one(connection).await
}

async fn with_fingerprint_of(
    subscription: &Subscription,
    transaction: &mut Transaction<'static, Postgres>,
) -> sqlx::Result<Option<SubscriptionId>> {
    let fingerprint = row::fingerprint(&subscription.spec);
    let id: Option<String> = sqlx::query_scalar(BY_FINGERPRINT)
        .bind(fingerprint)
        .fetch_optional(&mut **transaction)
        .await?;
    id.as_deref().map(parse_id).transpose()
}

/// One page of what comes behind `after`.
async fn read_page(
    connection: &mut PgConnection,
    after: Option<SubscriptionId>,
    limit: u32,
    keyring: &Keyring,
) -> sqlx::Result<Listing> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let one_more = i64::from(limit).saturating_add(1);
    let behind = sqlx::query(BEHIND).bind(after).bind(one_more);
    row::page(&behind.fetch_all(connection).await?, limit, keyring)
}
