//! An API token as a row, and a row as an API token.

use base64::{Engine, engine::general_purpose::STANDARD};

use homing_domain::{
    api_token::{ApiToken, TokenDigest},
    time::UnixMillis,
};

/// The columns of one token.
#[derive(sqlx_macros::FromRow)]
pub(super) struct TokenRow {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) scope: String,
    pub(super) created_ms: i64,
}

impl From<&ApiToken> for TokenRow {
    fn from(token: &ApiToken) -> Self {
        Self {
            name: token.name.as_str().to_owned(),
            digest: STANDARD.encode(token.digest.as_bytes()),
            scope: token.scope.as_str().to_owned(),
            created_ms: token.created.get(),
        }
    }
}

impl TokenRow {
    /// The token. One malformed row fails all of them, so that no request is accepted by mistake.
    pub(super) fn build(self) -> sqlx::Result<ApiToken> {
        let digest: [u8; 32] = STANDARD
            .decode(&self.digest)
            .map_err(sqlx::Error::decode)?
            .try_into()
            .map_err(|_| sqlx::Error::decode("a digest has 32 bytes"))?;
        Ok(ApiToken {
            name: self.name.parse().map_err(sqlx::Error::decode)?,
            digest: TokenDigest::from_bytes(digest),
            scope: self.scope.parse().map_err(sqlx::Error::decode)?,
            created: UnixMillis::new(self.created_ms),
        })
    }
}
