//! Encrypted rows and API tokens in the file.

use async_trait::async_trait;
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::{SqliteStore, ask};
use crate::{
    StoreError,
    encryption::{self, EncryptedRows, RenewedBatch},
    keyring::Keyring,
    statements::{
        ENCRYPTED_BEHIND, FORGET_OTHER_KEYS, INSERT_TOKEN, NOTE_KEY, RENEW, TOKENS, USED_KEYS,
    },
    token_row::TokenRow,
};
use homing_domain::clock;
use homing_domain::{api_token::ApiToken, encryption_key::KeyId};

pub(super) async fn used_keys(readers: &SqlitePool) -> Result<Vec<KeyId>, StoreError> {
    let ids = sqlx::query_scalar(USED_KEYS).fetch_all(readers);
    let ids: Vec<String> = ask("reading which keys encrypt", ids).await?;
    Ok(ids.into_iter().map(KeyId::new).collect())
}

#[async_trait]
impl EncryptedRows for SqliteStore {
    fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    async fn note_primary_key(&self) -> Result<Vec<KeyId>, StoreError> {
        let noted = async {
            let mut transaction = self.write().await?;
            self.note_key(&mut transaction).await?;
            transaction.commit().await
        };
        ask("noting which key encrypts", noted).await?;
        used_keys(&self.readers).await
    }

    async fn renew_batch(&self, after: &str) -> Result<RenewedBatch, StoreError> {
        let renewed = async {
            let mut transaction = self.write().await?;
            let rows = sqlx::query_as(ENCRYPTED_BEHIND).bind(after.to_owned());
            let rows = rows.bind(encryption::BATCH).fetch_all(&mut *transaction).await?;
            let batch = encryption::renew(rows, &self.keyring)?;
            for row in &batch.changed {
                let renew = sqlx::query(RENEW).bind(&row.id).bind(&row.confidential.auth_token);
                let renew = renew.bind(&row.confidential.secrets).bind(&row.confidential.headers);
                renew.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            Ok(batch)
        };
        ask("encrypting anew", renewed).await
    }

    async fn forget_other_keys(&self) -> Result<(), StoreError> {
        let forgotten = async {
            let mut transaction = self.write().await?;
            self.note_key(&mut transaction).await?;
            let forget = sqlx::query(FORGET_OTHER_KEYS).bind(self.keyring.primary().as_str());
            forget.execute(&mut *transaction).await?;
            transaction.commit().await
        };
        ask("forgetting old keys", forgotten).await
    }
}

impl SqliteStore {
    /// To be called with every write of an encrypted value: a process that still encrypts with an
    /// old key notes it again.
    pub(super) async fn note_key(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
    ) -> sqlx::Result<()> {
        let note = sqlx::query(NOTE_KEY).bind(self.keyring.primary().as_str());
        note.bind(clock::now().get()).execute(&mut **transaction).await.map(drop)
    }

    pub(super) async fn add_token(&self, token: &ApiToken) -> sqlx::Result<bool> {
        let row = TokenRow::from(token);
        let mut transaction = self.write().await?;
        let insert = sqlx::query(INSERT_TOKEN).bind(row.name).bind(row.digest).bind(row.scope);
        let inserted = insert.bind(row.created_ms).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(inserted.rows_affected() > 0)
    }

    pub(super) async fn list_tokens(&self) -> sqlx::Result<Vec<ApiToken>> {
        let rows: Vec<TokenRow> = sqlx::query_as(TOKENS).fetch_all(&self.readers).await?;
        rows.into_iter().map(TokenRow::build).collect()
    }
}
