//! Which keys encrypt values in the file, and giving all of them the newest one.

use sqlx::{FromRow, Sqlite, SqlitePool, Transaction};

use super::{SqliteStore, ask};
use crate::clock;
use crate::domain::encryption_key::KeyId;
use crate::store::{
    Corrupt, Reencrypted, StoreError,
    key_source::GivenKeys,
    row::{Confidential, parse_id},
};

/// Subscriptions encrypted anew in one transaction; others may write between two.
const BATCH: u32 = 200;

const USED: &str = "SELECT id FROM encryption_keys ORDER BY first_used_ms, id";
const NOTE: &str = "INSERT INTO encryption_keys (id, first_used_ms) VALUES (?1, ?2) \
                    ON CONFLICT (id) DO NOTHING";
const BEHIND: &str = "SELECT id, auth_token, secrets, headers FROM subscriptions \
                      WHERE id > ?1 ORDER BY id LIMIT ?2";
const RENEW: &str =
    "UPDATE subscriptions SET auth_token = ?2, secrets = ?3, headers = ?4 WHERE id = ?1";
const FORGET_OTHERS: &str = "DELETE FROM encryption_keys WHERE id <> ?1";

#[derive(FromRow)]
struct Encrypted {
    id: String,
    #[sqlx(flatten)]
    confidential: Confidential,
}

pub(super) async fn used_keys(readers: &SqlitePool) -> Result<Vec<KeyId>, StoreError> {
    let ids = sqlx::query_scalar(USED).fetch_all(readers);
    let ids: Vec<String> = ask("reading which keys encrypt", ids).await?;
    Ok(ids.into_iter().map(KeyId::new).collect())
}

impl SqliteStore {
    /// Makes the primary key one of the store's. What an earlier homing kept in clear is encrypted
    /// before the first one is.
    pub(super) async fn adopt_key(
        &self,
        used: &[KeyId],
        given: &GivenKeys,
    ) -> Result<(), StoreError> {
        if used.contains(self.keyring.primary()) {
            return Ok(());
        }
        if used.is_empty() {
            self.renew_all().await?;
        }
        let noted = async {
            let mut transaction = self.write().await?;
            self.note_key(&mut transaction).await?;
            let used: Vec<String> = sqlx::query_scalar(USED).fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(used)
        };
        let used = ask("remembering which key encrypts", noted).await?;
        // Another process may have been first, with another key.
        let used: Vec<_> = used.into_iter().map(KeyId::new).collect();
        given.keyring(&used).map(drop)
    }

    /// To be called with every write of an encrypted value.
    pub(super) async fn note_key(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
    ) -> sqlx::Result<()> {
        let note = sqlx::query(NOTE).bind(self.keyring.primary().as_str().to_owned());
        note.bind(clock::now().get()).execute(&mut **transaction).await.map(drop)
    }

    pub(super) async fn renew_all(&self) -> Result<Reencrypted, StoreError> {
        let mut all = Reencrypted::default();
        let mut after = String::new();
        while let Some(last) = ask("encrypting anew", self.renew_batch(&after, &mut all)).await? {
            after = last;
        }
        if all.corrupt.is_empty() {
            ask("forgetting old keys", self.forget_other_keys()).await?;
        }
        Ok(all)
    }

    /// Returns the last id if there may be more behind it.
    async fn renew_batch(
        &self,
        after: &str,
        all: &mut Reencrypted,
    ) -> sqlx::Result<Option<String>> {
        let mut transaction = self.write().await?;
        let rows: Vec<Encrypted> = sqlx::query_as(BEHIND)
            .bind(after.to_owned())
            .bind(BATCH)
            .fetch_all(&mut *transaction)
            .await?;
        let mut changed: u64 = 0;
        for Encrypted { id, confidential } in &rows {
            match confidential.renewed(id, &self.keyring) {
                Ok(None) => {}
                Ok(Some(renewed)) => {
                    let renew = sqlx::query(RENEW).bind(id).bind(renewed.auth_token);
                    let renew = renew.bind(renewed.secrets).bind(renewed.headers);
                    renew.execute(&mut *transaction).await?;
                    changed = changed.saturating_add(1);
                }
                Err(flaw) => all.corrupt.push(Corrupt {
                    subscription: parse_id(id)?,
                    field: flaw.field,
                    why: flaw.why,
                }),
            }
        }
        transaction.commit().await?;
        all.changed = all.changed.saturating_add(changed);
        let more = rows.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
        Ok(rows.into_iter().next_back().map(|row| row.id).filter(|_| more))
    }

    /// A process that still encrypts with an old key notes it again.
    async fn forget_other_keys(&self) -> sqlx::Result<()> {
        let mut transaction = self.write().await?;
        self.note_key(&mut transaction).await?;
        let forget = sqlx::query(FORGET_OTHERS).bind(self.keyring.primary().as_str().to_owned());
        forget.execute(&mut *transaction).await?;
        transaction.commit().await
    }
}
