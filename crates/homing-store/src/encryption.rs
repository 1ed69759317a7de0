//! The keys that encrypt secrets in a store, and encrypting all of them with the newest one.

use serde_json::{Map, Value};
use sqlx::Database;

use super::{
    Corrupt, StoreError,
    backend::{Backend, SqlStore, ask},
    confidential::{Confidential, read_authentication},
    key_source::GivenKeys,
    keyring::Keyring,
    oauth2_tokens::token_id,
    row::{self, parse_id},
    statement::{Tx, sql},
    statements::{
        ENCRYPTED_BEHIND, FORGET_OTHER_KEYS, IN_WORKFRONTS_FORM_BEHIND, NOTE_KEY, RENEW,
        RENEW_FINGERPRINT, USED_KEYS,
    },
    subscription_store::behind,
};
use homing_domain::{clock, encryption_key::KeyId, time::UnixMillis};

/// Subscriptions encrypted anew in one transaction; others may write between two.
const BATCH: u32 = 200;

/// The keys that encrypt secrets in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Encrypts secrets from now on.
    pub primary: KeyId,
    /// Keys that may have encrypted stored secrets, in the order of their first use.
    pub used: Vec<KeyId>,
}

/// The result of encrypting everything anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reencrypted {
    /// Subscriptions that were not encrypted by the primary key before.
    pub changed: u64,
    /// Subscriptions that could not be read; they are unchanged.
    pub corrupt: Vec<Corrupt>,
    /// Payloads of attempts, bodies of them and texts of errors that were not encrypted by the primary
    /// key before.
    pub payloads: u64,
    /// Parked messages that were not encrypted by the primary key before.
    pub parked: u64,
    /// Parked messages that could not be decrypted; they are unchanged.
    pub unreadable_parked: u64,
}

impl Reencrypted {
    /// True if everything could be read: the former keys are not needed any more.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unreadable() == 0
    }

    fn unreadable(&self) -> u64 {
        let corrupt = u64::try_from(self.corrupt.len()).unwrap_or(u64::MAX);
        corrupt.saturating_add(self.unreadable_parked)
    }

    /// The counts as the audit has them.
    pub(super) fn counts(&self) -> Map<String, Value> {
        let counts = [
            ("subscriptions", self.changed),
            ("payloads", self.payloads),
            ("parked", self.parked),
            ("unreadable", self.unreadable()),
        ];
        counts.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
    }
}

/// The encrypted columns of a subscription.
#[derive(sqlx_macros::FromRow)]
struct Encrypted {
    id: String,
    #[sqlx(flatten)]
    confidential: Confidential,
}

impl Encrypted {
    /// The id of its token by the primary key; `None`: it has none.
    fn token_id(&self, keyring: &Keyring) -> Option<String> {
        let authentication = self.confidential.each_decrypted(&self.id, keyring).authentication;
        let authentication =
            authentication.and_then(Result::ok).as_deref().map(read_authentication);
        token_id(authentication.and_then(Result::ok).as_ref(), keyring)
    }
}

/// The result of a batch.
#[derive(Default)]
struct RenewedBatch {
    /// To be written.
    changed: Vec<Encrypted>,
    corrupt: Vec<Corrupt>,
    /// The last id, if there may be more behind it.
    last: Option<String>,
}

/// Encrypts the rows of a batch that the primary key does not encrypt yet.
fn renew(rows: Vec<Encrypted>, keyring: &Keyring) -> sqlx::Result<RenewedBatch> {
    let full = rows.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
    let mut batch = RenewedBatch::default();
    for Encrypted { id, confidential } in rows {
        batch.last = full.then(|| id.clone());
        match confidential.renewed(&id, keyring) {
            Ok(None) => {}
            Ok(Some(confidential)) => batch.changed.push(Encrypted { id, confidential }),
            Err(flaw) => batch.corrupt.push(Corrupt {
                subscription: parse_id(&id)?,
                field: flaw.field,
                why: flaw.why,
                topics: None,
                updated: UnixMillis::default(),
            }),
        }
    }
    Ok(batch)
}

/// The keys that the store was encrypted with so far.
pub(super) async fn used_keys<B: Backend>(
    connection: &mut <B::Database as Database>::Connection,
) -> Result<Vec<KeyId>, StoreError> {
    let ids = sql::<B::Database>(USED_KEYS).fetch::<(String,)>(connection);
    let ids = ask::<B, _>("reading which keys encrypt", ids).await?;
    Ok(ids.into_iter().map(|(id,)| KeyId::new(id)).collect())
}

impl<B: Backend> SqlStore<B> {
    /// Notes that the primary key is used. To be called with every write of an encrypted value,
    /// behind the lock of such writes: a process that still encrypts with an old key notes it
    /// again.
    pub(super) async fn note_key(&self, transaction: &mut Tx<B::Database>) -> sqlx::Result<()> {
        let note = sql(NOTE_KEY).bind(self.keyring.primary().as_str()).bind(clock::now().get());
        note.execute(transaction).await.map(drop)
    }

    /// The keys that encrypt, in the order of their first use.
    pub(super) async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let ids = self.all::<(String,)>(sql(USED_KEYS));
        let ids = self.ask("reading which keys encrypt", ids).await?;
        Ok(ids.into_iter().map(|(id,)| KeyId::new(id)).collect())
    }

    /// Encrypts everything with the primary key; counts in `all`, of which is true what was done
    /// until an error.
    pub(super) async fn renew_all(&self, all: &mut Reencrypted) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let batch = self.ask("encrypting anew", self.renew_batch(&after)).await?;
            let changed = u64::try_from(batch.changed.len()).unwrap_or(u64::MAX);
            all.changed = all.changed.saturating_add(changed);
            all.corrupt.extend(batch.corrupt);
            match batch.last {
                Some(last) => after = last,
                None => break,
            }
        }
        self.renew_fingerprints().await?;
        self.renew_payloads(&mut all.payloads).await?;
        for key in self.keys_in_use().await?.iter().filter(|key| *key != self.keyring.primary()) {
            let mut after = Some(Vec::new());
            while let Some(behind) = after {
                let renewed = self.ask("encrypting anew", self.renew_parked(key, behind)).await?;
                all.parked = all.parked.saturating_add(renewed.changed);
                all.unreadable_parked = all.unreadable_parked.saturating_add(renewed.unreadable);
                after = renewed.last;
            }
        }
        if all.is_whole() {
            let forgotten = async {
                let mut transaction = self.begin_exclusive().await?;
                // A process that still encrypts with an old key may write meanwhile.
                let dialect = &B::DIALECT;
                for lock in [dialect.lock_payloads, dialect.lock_attempts, dialect.lock_parked] {
                    sql::<B::Database>(lock).execute(&mut transaction).await?;
                }
                self.note_key(&mut transaction).await?;
                let forget = sql(FORGET_OTHER_KEYS).bind(self.keyring.primary().as_str());
                forget.execute(&mut transaction).await?;
                transaction.commit().await
            };
            self.ask("forgetting old keys", forgotten).await?;
        }
        Ok(())
    }

    /// Encrypts the [`BATCH`] behind `after` anew in one transaction.
    async fn renew_batch(&self, after: &str) -> sqlx::Result<RenewedBatch> {
        let mut transaction = self.begin_exclusive().await?;
        let rows = sql(ENCRYPTED_BEHIND).bind(after).bind(i64::from(BATCH));
        let batch = renew(rows.all(&mut transaction).await?, &self.keyring)?;
        for changed in &batch.changed {
            let (Encrypted { id, confidential }, keyring) = (changed, &self.keyring);
            let renew = sql(RENEW).bind(id).bind(&confidential.auth_token);
            let renew = renew.bind(&confidential.secrets).bind(&confidential.headers);
            let renew = renew.bind(&confidential.authentication);
            let renew = renew.bind(&confidential.client_certificate);
            let renew = renew.bind(changed.token_id(keyring));
            renew.execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(batch)
    }

    /// Makes all fingerprints with the primary key, also of subscriptions that an earlier homing
    /// encrypted anew. One that cannot be read keeps its own until it is mended.
    async fn renew_fingerprints(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let renewed = async {
                let mut transaction = self.begin_exclusive().await?;
                let rows = behind(IN_WORKFRONTS_FORM_BEHIND, after, BATCH);
                let rows = rows.all(&mut transaction).await?;
                let page = row::page(rows, BATCH, &self.keyring);
                for one in &page.subscriptions {
                    let fingerprint = row::fingerprint(&one.spec, &self.keyring);
                    let renew = sql(RENEW_FINGERPRINT).bind(one.id.to_string()).bind(fingerprint);
                    renew.execute(&mut transaction).await?;
                }
                transaction.commit().await?;
                Ok(page.next)
            };
            after = self.ask("making fingerprints anew", renewed).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Makes the primary key one of the store's, when it is opened; `used` are those it has.
    /// Secrets that an earlier homing kept in clear are encrypted before the first key is noted.
    pub(super) async fn adopt(&self, used: &[KeyId], given: &GivenKeys) -> Result<(), StoreError> {
        if used.contains(self.keyring.primary()) {
            return Ok(());
        }
        if used.is_empty() {
            self.renew_all(&mut Reencrypted::default()).await?;
        }
        let noted = async {
            let mut transaction = self.begin_exclusive().await?;
            self.note_key(&mut transaction).await?;
            transaction.commit().await
        };
        self.ask("noting which key encrypts", noted).await?;
        // Another process may have been first, with another key.
        given.keyring(&self.keys_in_use().await?).map(drop)
    }
}
