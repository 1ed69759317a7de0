//! Encrypts payloads, and texts of errors, anew.

use super::seal::{BODIES, PAYLOADS, row_name};
use crate::{
    StoreError,
    backend::{Backend, SqlStore},
    error_groups::TABLE,
    keyring::Place,
    sealed,
    statement::sql,
};

/// Rows whose keys are looked at at once.
const PAGE: i64 = 1_000;
/// Rows that are encrypted anew in one transaction.
const BATCH: usize = 50;

impl<B: Backend> SqlStore<B> {
    /// Encrypts all of them with the primary key; adds the rows that were changed to `changed`. What
    /// cannot be decrypted is left, and its key is not forgotten.
    pub(crate) async fn renew_payloads(&self, changed: &mut u64) -> Result<(), StoreError> {
        for table in [PAYLOADS, BODIES, TABLE] {
            let mut after = Some(Vec::new());
            while let Some(behind) = after {
                let page = self.ask("looking for former keys", self.former_rows(table, behind));
                let (former, last) = page.await?;
                for ids in former.chunks(BATCH) {
                    let renewed = self.ask("encrypting anew", self.renew_rows(table, ids)).await?;
                    *changed = changed.saturating_add(renewed);
                }
                after = last;
            }
        }
        Ok(())
    }

    /// Of a page of rows, those of another key; and the last row, if there is one. There is no
    /// index for this: where (nearly) all rows are current, a search for others reads all of them.
    async fn former_rows(
        &self,
        table: &'static str,
        after: Vec<u8>,
    ) -> sqlx::Result<(Vec<Vec<u8>>, Option<Vec<u8>>)> {
        let rows =
            sql(format!("SELECT id, key_id FROM {table} WHERE id > $1 ORDER BY id LIMIT $2"));
        let rows: Vec<(Vec<u8>, String)> = self.all(rows.bind(after).bind(PAGE)).await?;
        let last = rows.last().map(|(id, _)| id.clone());
        let primary = self.keyring.primary().as_str();
        let former = rows.into_iter().filter(|(_, key)| key != primary).map(|(id, _)| id);
        Ok((former.collect(), last))
    }

    /// Encrypts rows anew; returns how many were changed.
    async fn renew_rows(&self, table: &'static str, ids: &[Vec<u8>]) -> sqlx::Result<u64> {
        let mut transaction = self.begin().await?;
        let primary = self.keyring.primary().as_str();
        let mut select = sql(format!("SELECT id, content FROM {table} WHERE id IN ("));
        for (index, id) in ids.iter().enumerate() {
            select = select.push(if index == 0 { "" } else { ", " }).push_bind(id.clone());
        }
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            select.push(") ORDER BY id").all(&mut transaction).await?;
        let mut changed = 0_u64;
        for (id, content) in rows {
            let place = Place { column: table, row: &row_name(&id) };
            let Some(renewed) = sealed::renewed(&self.keyring, place, &content)? else { continue };
            let renew = sql(format!("UPDATE {table} SET key_id = $2, content = $3 WHERE id = $1"));
            let renew = renew.bind(id).bind(primary).bind(renewed);
            changed = changed.saturating_add(renew.execute(&mut transaction).await?);
        }
        transaction.commit().await?;
        Ok(changed)
    }
}
