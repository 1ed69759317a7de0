//! Encrypts payloads, and texts of errors, anew.

use super::seal::{BODIES, PAYLOADS, decrypted, encrypted, row_name};
use crate::{
    StoreError,
    backend::{Backend, SqlStore},
    error_groups::TABLE,
    statement::sql,
};

/// Rows that are encrypted anew in one transaction.
const BATCH: i64 = 50;

impl<B: Backend> SqlStore<B> {
    /// Encrypts all of them with the primary key; returns how many rows were changed. What cannot be
    /// decrypted is left, and its key is not forgotten.
    pub(crate) async fn renew_payloads(&self) -> Result<u64, StoreError> {
        let mut changed = 0_u64;
        for table in [PAYLOADS, BODIES, TABLE] {
            let mut after = Some(Vec::new());
            while let Some(behind) = after {
                let renewed = self.ask("encrypting anew", self.renew_rows(table, behind)).await?;
                changed = changed.saturating_add(renewed.0);
                after = renewed.1;
            }
        }
        Ok(changed)
    }

    /// Encrypts a batch anew; returns how many were changed, and the last one, if there is one.
    async fn renew_rows(
        &self,
        table: &'static str,
        after: Vec<u8>,
    ) -> sqlx::Result<(u64, Option<Vec<u8>>)> {
        let mut transaction = self.begin().await?;
        let primary = self.keyring.primary().as_str();
        let rows = sql(format!(
            "SELECT id, content FROM {table} WHERE key_id <> $1 AND id > $2 ORDER BY id LIMIT $3"
        ));
        let rows = rows.bind(primary).bind(after).bind(BATCH);
        let rows: Vec<(Vec<u8>, Vec<u8>)> = rows.all(&mut transaction).await?;
        let last = rows.last().map(|(id, _)| id.clone());
        let mut changed = 0_u64;
        for (id, content) in rows {
            let cell = row_name(&id);
            let Ok(clear) = decrypted(&self.keyring, (table, &cell), &content) else { continue };
            let renewed = encrypted(&self.keyring, (table, &cell), &clear)?;
            let renew = sql(format!("UPDATE {table} SET key_id = $2, content = $3 WHERE id = $1"));
            let renew = renew.bind(id).bind(primary).bind(renewed);
            changed = changed.saturating_add(renew.execute(&mut transaction).await?);
        }
        transaction.commit().await?;
        Ok((changed, last))
    }
}
