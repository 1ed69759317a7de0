//! Which keys encrypt what is in a store, and giving all of it the newest one; the same for every
//! backend.

use async_trait::async_trait;
use sqlx::FromRow;

use super::{
    Corrupt, StoreError, confidential::Confidential, key_source::GivenKeys, keyring::Keyring,
    row::parse_id,
};
use homing_domain::{encryption_key::KeyId, time::UnixMillis};

/// Subscriptions encrypted anew in one transaction; others may write between two.
pub(super) const BATCH: u32 = 200;

/// The keys that encrypt secrets in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Encrypts what is written from now on.
    pub primary: KeyId,
    /// Those that may have encrypted what is there, in the order of their first use.
    pub used: Vec<KeyId>,
}

/// What came of encrypting everything anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reencrypted {
    /// Subscriptions that were not encrypted by the primary key before.
    pub changed: u64,
    /// Subscriptions that could not be read; they stay as they are.
    pub corrupt: Vec<Corrupt>,
}

/// What a backend does for encryption; each call is one step.
#[async_trait]
pub(super) trait EncryptedRows: Sync {
    /// The keys in force.
    fn keyring(&self) -> &Keyring;

    /// Notes that the primary key is used; returns all keys that are.
    async fn note_primary_key(&self) -> Result<Vec<KeyId>, StoreError>;

    /// Encrypts the [`BATCH`] behind `after` anew in one transaction, by [`renew`].
    async fn renew_batch(&self, after: &str) -> Result<RenewedBatch, StoreError>;

    /// Forgets all keys but the primary one.
    async fn forget_other_keys(&self) -> Result<(), StoreError>;
}

/// The encrypted columns of a subscription.
#[derive(FromRow)]
pub(super) struct Encrypted {
    pub(super) id: String,
    #[sqlx(flatten)]
    pub(super) confidential: Confidential,
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct RenewedBatch {
    /// To be written.
    pub(super) changed: Vec<Encrypted>,
    corrupt: Vec<Corrupt>,
    /// The last id, if there may be more behind it.
    last: Option<String>,
}

/// The rows of a batch that the primary key does not encrypt yet, as it does.
pub(super) fn renew(rows: Vec<Encrypted>, keyring: &Keyring) -> sqlx::Result<RenewedBatch> {
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

/// Encrypts everything with the primary key.
pub(super) async fn renew_all(rows: &dyn EncryptedRows) -> Result<Reencrypted, StoreError> {
    let mut all = Reencrypted::default();
    let mut after = String::new();
    loop {
        let batch = rows.renew_batch(&after).await?;
        let changed = u64::try_from(batch.changed.len()).unwrap_or(u64::MAX);
        all.changed = all.changed.saturating_add(changed);
        all.corrupt.extend(batch.corrupt);
        match batch.last {
            Some(last) => after = last,
            None => break,
        }
    }
    if all.corrupt.is_empty() {
        rows.forget_other_keys().await?;
    }
    Ok(all)
}

/// Makes the primary key one of the store's, when it is opened; `used` are those it has. What an
/// earlier homing kept in clear is encrypted before the first one is.
pub(super) async fn adopt(
    rows: &dyn EncryptedRows,
    used: &[KeyId],
    given: &GivenKeys,
) -> Result<(), StoreError> {
    if used.contains(rows.keyring().primary()) {
        return Ok(());
    }
    if used.is_empty() {
        renew_all(rows).await?;
    }
    // Another process may have been first, with another key.
    let used = rows.note_primary_key().await?;
    given.keyring(&used).map(drop)
}
