//! Encrypts parked messages anew.

use super::{ParkedId, place};
use crate::{
    backend::{Backend, SqlStore},
    sealed,
    statement::sql,
};
use homing_domain::encryption_key::KeyId;

/// Messages encrypted anew in one transaction, and no more than this many bytes of them, except a
/// single one.
const BATCH: i64 = 100;
const MAX_BATCH_BYTES: usize = 8 * 1_024 * 1_024;

/// One at a time is read, so that a batch never holds many large ones.
const NEXT: &str = "\
    SELECT id, payload FROM parked_messages WHERE key_id = $1 AND id > $2 ORDER BY id LIMIT 1";
const RENEW: &str =
    "UPDATE parked_messages SET payload = $2, bytes = $3, key_id = $4 WHERE id = $1";

/// The result of a batch.
#[derive(Debug, Default)]
pub(crate) struct RenewedParked {
    pub(crate) changed: u64,
    /// Those that cannot be decrypted; they are unchanged.
    pub(crate) unreadable: u64,
    /// Begin here with the next one; `None`: there is none.
    pub(crate) last: Option<Vec<u8>>,
}

impl<B: Backend> SqlStore<B> {
    /// Encrypts parked messages of `key` behind `after` with the primary key, in one transaction.
    pub(crate) async fn renew_parked(
        &self,
        key: &KeyId,
        after: Vec<u8>,
    ) -> sqlx::Result<RenewedParked> {
        let mut renewed = RenewedParked { last: Some(after), ..RenewedParked::default() };
        let mut transaction = self.begin_exclusive().await?;
        sql::<B::Database>(B::DIALECT.lock_parked).execute(&mut transaction).await?;
        self.note_key(&mut transaction).await?;
        let primary = self.keyring.primary().as_str();
        let mut bytes = 0_usize;
        for _ in 0..BATCH {
            let Some(after) = renewed.last.take() else { break };
            let next = sql(NEXT).bind(key.as_str()).bind(after);
            let Some((id, kept)) = next.optional::<(Vec<u8>, Vec<u8>)>(&mut transaction).await?
            else {
                break;
            };
            bytes = bytes.saturating_add(kept.len());
            let row = ParkedId::from_bytes(&id)?.to_string();
            match sealed::renewed(&self.keyring, place(&row), &kept)? {
                Some(sealed) => {
                    let size = i64::try_from(sealed.len()).unwrap_or(i64::MAX);
                    let renew = sql(RENEW).bind(id.as_slice()).bind(sealed).bind(size);
                    renew.bind(primary).execute(&mut transaction).await?;
                    renewed.changed = renewed.changed.saturating_add(1);
                }
                None => renewed.unreadable = renewed.unreadable.saturating_add(1),
            }
            renewed.last = Some(id);
            if bytes >= MAX_BATCH_BYTES {
                break;
            }
        }
        transaction.commit().await?;
        Ok(renewed)
    }
}
