//! API tokens in the file.

use super::SqliteStore;
use crate::domain::api_token::ApiToken;
use crate::store::token_row::TokenRow;

const INSERT: &str = "INSERT INTO api_tokens (name, digest, scope, created_ms) \
                      VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO NOTHING";
const ALL: &str = "SELECT name, digest, scope, created_ms FROM api_tokens ORDER BY name";

impl SqliteStore {
    pub(super) async fn add_token(&self, token: &ApiToken) -> sqlx::Result<bool> {
        let row = TokenRow::from(token);
        let mut transaction = self.write().await?;
        let insert = sqlx::query(INSERT).bind(row.name).bind(row.digest).bind(row.scope);
        let inserted = insert.bind(row.created_ms).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(inserted.rows_affected() > 0)
    }

    pub(super) async fn list_tokens(&self) -> sqlx::Result<Vec<ApiToken>> {
        let rows: Vec<TokenRow> = sqlx::query_as(ALL).fetch_all(&self.readers).await?;
        rows.into_iter().map(TokenRow::build).collect()
    }
}
