//! OAuth 2.0 access tokens that all workers share: one of them asks, the others read.
//!
//! A token belongs to credentials, not to a subscription; its row is there only while a subscription
//! has these credentials. A worker that asks has claimed that before, for a while: by comparing and
//! setting the row, so nothing is locked. All instants are of the clock of the database, and callers
//! get durations, so that clocks of workers may differ.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use super::{
    StoreError,
    backend::{Backend, SqlStore},
    keyring::{Keyring, Place},
    sealed,
    statement::{Statement, sql},
};
use homing_domain::{
    subscription::{Authentication, OAuth2Credentials, TokenStatus},
    time::UnixMillis,
};

const COLUMNS: &str = "token, generation, obtained_ms, expires_ms, claimed_until_ms, retry_at_ms, \
    failing_since_ms, error";

/// Identifies the token for some credentials in this store, by its primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2TokenId(String);

/// A token, and what is left of its lifetime; shown by `Debug` without the token.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuth2Token {
    /// A secret.
    pub token: String,
    /// The time since it was obtained.
    pub age: Duration,
    /// The time until it expires; zero: it has.
    pub left: Duration,
}

/// The row of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2TokenState {
    /// The number of tokens so far: another one for each token.
    pub generation: i64,
    /// The last one; `None`: there was none, or it cannot be decrypted.
    pub token: Option<OAuth2Token>,
    /// A worker asks for the next one, or has died; for this long, at most.
    pub claimed: Duration,
    /// No worker asks before that.
    pub retry_in: Duration,
    /// The reason why the last request failed; `None`: it did not.
    pub error: Option<String>,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuth2Claim {
    /// The caller asks.
    Won {
        /// To be given back with the answer.
        generation: i64,
        /// The requests that have failed since the last token.
        failures: u32,
    },
    /// Another one asks, has asked, or none may ask yet.
    Lost(OAuth2TokenState),
    /// No subscription that the store knows has these credentials: the caller asks for itself alone.
    Unshared,
}

/// Tokens that workers share. Part of [`Store`](super::Store), with its promises.
#[async_trait]
pub trait OAuth2Store: Send + Sync {
    /// The id of the token for `credentials`.
    fn oauth2_token_id(&self, credentials: &OAuth2Credentials) -> OAuth2TokenId;

    /// Claims to ask for the token after that of `generation` (0: none), for `lasts` at most. Of all
    /// callers, in whatever process, one wins.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; it may have been claimed.
    async fn claim_oauth2_token(
        &self,
        id: &OAuth2TokenId,
        generation: i64,
        lasts: Duration,
    ) -> Result<OAuth2Claim, StoreError>;

    /// Keeps the token that was asked for by the claim of `generation`, with the lifetime `left`;
    /// returns `false` if another one is there, or no subscription has the credentials any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn keep_oauth2_token(
        &self,
        id: &OAuth2TokenId,
        generation: i64,
        (token, left): (&str, Duration),
    ) -> Result<bool, StoreError>;

    /// Notes that the request of the claim of `generation` failed because of `error`; the next one is
    /// due after `pause`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn oauth2_token_failed(
        &self,
        id: &OAuth2TokenId,
        generation: i64,
        (error, pause): (&str, Duration),
    ) -> Result<(), StoreError>;

    /// The state of the token for `credentials`; `None`: none was asked for.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn oauth2_token_status(
        &self,
        credentials: &OAuth2Credentials,
    ) -> Result<Option<TokenStatus>, StoreError>;
}

/// The id of the token that requests of a subscription with `authentication` send.
pub(super) fn token_id(
    authentication: Option<&Authentication>,
    keyring: &Keyring,
) -> Option<String> {
    Some(id_of(authentication?.oauth2()?, keyring))
}

fn id_of(credentials: &OAuth2Credentials, keyring: &Keyring) -> String {
    STANDARD_NO_PAD.encode(keyring.digest(credentials.id().as_bytes()))
}

/// A row of `oauth2_tokens` but its id, and the instant of the database.
#[derive(sqlx_macros::FromRow)]
struct TokenRow {
    token: Option<Vec<u8>>,
    generation: i64,
    obtained_ms: Option<i64>,
    expires_ms: Option<i64>,
    claimed_until_ms: i64,
    retry_at_ms: i64,
    failing_since_ms: Option<i64>,
    error: Option<Vec<u8>>,
    now_ms: i64,
}

impl TokenRow {
    fn state(&self, id: &OAuth2TokenId, keyring: &Keyring) -> OAuth2TokenState {
        let now = UnixMillis::new(self.now_ms);
        let until = |ms: i64| UnixMillis::new(ms).since(now);
        let text = self.token.as_deref().and_then(|it| opened(keyring, TOKEN, id, it));
        let token = text.zip(self.obtained_ms).zip(self.expires_ms);
        let token = token.map(|((token, obtained), expires)| OAuth2Token {
            token,
            age: now.since(UnixMillis::new(obtained)),
            left: until(expires),
        });
        OAuth2TokenState {
            generation: self.generation,
            token,
            claimed: until(self.claimed_until_ms),
            retry_in: until(self.retry_at_ms),
            error: self.error.as_deref().and_then(|it| opened(keyring, ERROR, id, it)),
        }
    }

    fn status(&self, id: &OAuth2TokenId, keyring: &Keyring) -> TokenStatus {
        TokenStatus {
            obtained: self.obtained_ms.map(UnixMillis::new),
            expires: self.expires_ms.map(UnixMillis::new),
            failing_since: self.failing_since_ms.map(UnixMillis::new),
            error: self.error.as_deref().and_then(|it| opened(keyring, ERROR, id, it)),
        }
    }
}

const TOKEN: &str = "oauth2_tokens.token";
const ERROR: &str = "oauth2_tokens.error";

fn sealed(
    keyring: &Keyring,
    column: &'static str,
    id: &OAuth2TokenId,
    clear: &str,
) -> sqlx::Result<Vec<u8>> {
    sealed::seal(keyring, Place { column, row: &id.0 }, clear.as_bytes())
}

/// `None`: it cannot be read; then a new one is asked for.
fn opened(
    keyring: &Keyring,
    column: &'static str,
    id: &OAuth2TokenId,
    kept: &[u8],
) -> Option<String> {
    let clear = sealed::open(keyring, Place { column, row: &id.0 }, kept).ok()?;
    String::from_utf8(clear).ok()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl<B: Backend> SqlStore<B> {
    /// Continues with an instant that is `later` than now, by the clock of the database.
    fn push_later(statement: Statement<B::Database>, later: Duration) -> Statement<B::Database> {
        statement.push(B::DIALECT.now_ms).push(" + ").push_bind(millis(later))
    }

    async fn token_row(&self, id: &OAuth2TokenId) -> sqlx::Result<Option<TokenRow>> {
        let select = sql("SELECT ").push(COLUMNS).push(", ").push(B::DIALECT.now_ms);
        let select = select.push(" AS now_ms FROM oauth2_tokens WHERE id = ");
        self.optional(select.push_bind(&*id.0)).await
    }

    async fn claim_token(
        &self,
        id: &OAuth2TokenId,
        generation: i64,
        lasts: Duration,
    ) -> sqlx::Result<OAuth2Claim> {
        let insert = sql("INSERT INTO oauth2_tokens \
             (id, generation, claimed_until_ms, retry_at_ms, failures) SELECT ");
        let insert = insert.push("CAST(").push_bind(&*id.0).push(" AS text), 0, ");
        let insert = Self::push_later(insert, lasts)
            .push(", 0, 0 WHERE EXISTS (SELECT 1 FROM subscriptions WHERE oauth2_token_id = ");
        let insert = insert.push_bind(&*id.0).push(
            ") ON CONFLICT (id) DO UPDATE SET claimed_until_ms = excluded.claimed_until_ms \
             WHERE oauth2_tokens.generation = ",
        );
        let insert = insert.push_bind(generation).push(" AND oauth2_tokens.claimed_until_ms <= ");
        let insert = insert.push(B::DIALECT.now_ms).push(" AND oauth2_tokens.retry_at_ms <= ");
        let insert = insert.push(B::DIALECT.now_ms).push(" RETURNING generation, failures");
        let mut transaction = self.begin().await?;
        let won: Option<(i64, i64)> = insert.optional(&mut transaction).await?;
        transaction.commit().await?;
        if let Some((generation, failures)) = won {
            let failures = u32::try_from(failures).unwrap_or(u32::MAX);
            return Ok(OAuth2Claim::Won { generation, failures });
        }
        let row = self.token_row(id).await?;
        Ok(row.map_or(OAuth2Claim::Unshared, |row| OAuth2Claim::Lost(row.state(id, &self.keyring))))
    }

    /// Ends the claim of `generation` by what `set` sets; returns `false` if it is over, or no
    /// subscription has the credentials any more.
    async fn end_claim(
        &self,
        set: Statement<B::Database>,
        id: &OAuth2TokenId,
        generation: i64,
    ) -> sqlx::Result<bool> {
        let set = set.push(", claimed_until_ms = 0 WHERE id = ").push_bind(&*id.0);
        let set = set.push(" AND generation = ").push_bind(generation);
        let is_used = " AND EXISTS (SELECT 1 FROM subscriptions WHERE oauth2_token_id = ";
        let set = set.push(is_used).push_bind(&*id.0).push(")");
        if self.execute(set).await? > 0 {
            return Ok(true);
        }
        // The claim may have come just after the last subscription went.
        let unused = sql("DELETE FROM oauth2_tokens WHERE id = ").push_bind(&*id.0);
        let unused =
            unused.push(" AND NOT EXISTS (SELECT 1 FROM subscriptions WHERE oauth2_token_id = ");
        self.execute(unused.push_bind(&*id.0).push(")")).await?;
        Ok(false)
    }
}

#[async_trait]
impl<B: Backend> OAuth2Store for SqlStore<B> {
    fn oauth2_token_id(&self, credentials: &OAuth2Credentials) -> OAuth2TokenId {
        OAuth2TokenId(id_of(credentials, &self.keyring))
    }

    async fn claim_oauth2_token(
        &self,
        id: &OAuth2TokenId,
        generation: i64,
        lasts: Duration,
    ) -> Result<OAuth2Claim, StoreError> {
        self.ask("claiming a token request", self.claim_token(id, generation, lasts)).await
    }

    async fn keep_oauth2_token(
        &self,
        id: &OAuth2TokenId,
        generation: i64,
        (token, left): (&str, Duration),
    ) -> Result<bool, StoreError> {
        let kept = async {
            let token = sealed(&self.keyring, TOKEN, id, token)?;
            let set = sql("UPDATE oauth2_tokens SET token = ").push_bind(token);
            let set = set.push(", obtained_ms = ").push(B::DIALECT.now_ms).push(", expires_ms = ");
            let set = Self::push_later(set, left).push(
                ", generation = generation + 1, retry_at_ms = 0, failures = 0, \
                 failing_since_ms = NULL, error = NULL",
            );
            self.end_claim(set, id, generation).await
        };
        self.ask("keeping a token", kept).await
    }

    async fn oauth2_token_failed(
        &self,
        id: &OAuth2TokenId,
        generation: i64,
        (error, pause): (&str, Duration),
    ) -> Result<(), StoreError> {
        let noted = async {
            let error = sealed(&self.keyring, ERROR, id, error)?;
            let set = sql("UPDATE oauth2_tokens SET error = ").push_bind(error);
            let set = Self::push_later(set.push(", retry_at_ms = "), pause)
                .push(", failures = failures + 1, failing_since_ms = coalesce(failing_since_ms, ");
            let set = set.push(B::DIALECT.now_ms).push(")");
            self.end_claim(set, id, generation).await.map(drop)
        };
        self.ask("noting that a token request failed", noted).await
    }

    async fn oauth2_token_status(
        &self,
        credentials: &OAuth2Credentials,
    ) -> Result<Option<TokenStatus>, StoreError> {
        let id = self.oauth2_token_id(credentials);
        let row = self.ask("reading the state of a token", self.token_row(&id)).await?;
        Ok(row.map(|row| row.status(&id, &self.keyring)))
    }
}

impl fmt::Debug for OAuth2Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { age, left, .. } = self;
        f.debug_struct("OAuth2Token").field("age", age).field("left", left).finish_non_exhaustive()
    }
}
