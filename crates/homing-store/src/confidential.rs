//! The columns of a subscription that hold secrets.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::FromRow;

use super::{
    keyring::{Keyring, KeyringError, Place},
    row::{Flaw, checked, json},
};
use homing_domain::{signature::SigningSecret, subscription::SubscriptionSpec, time::UnixMillis};

/// The columns that hold secrets, each encrypted as a whole. No `Debug`: decrypted, they are in
/// clear.
#[derive(FromRow)]
pub(super) struct Confidential {
    pub(super) auth_token: Option<String>,
    /// A list of [`KeptSecret`] in JSON.
    pub(super) secrets: String,
    /// An object of texts in JSON.
    pub(super) headers: String,
}

/// A signing secret inside its encrypted column.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeptSecret {
    Lasting(String),
    Expiring { secret: String, expires_ms: i64 },
}

impl From<&SigningSecret> for KeptSecret {
    fn from(secret: &SigningSecret) -> Self {
        match secret.expires() {
            None => Self::Lasting(secret.reveal()),
            Some(expires) => Self::Expiring { secret: secret.reveal(), expires_ms: expires.get() },
        }
    }
}

impl Confidential {
    pub(super) fn encrypted(
        spec: &SubscriptionSpec,
        id: &str,
        keyring: &Keyring,
    ) -> Result<Self, KeyringError> {
        let secrets: Vec<_> = spec.secrets.iter().map(KeptSecret::from).collect();
        let clear = Self {
            auth_token: spec.auth_token.as_ref().map(|token| token.reveal().to_owned()),
            secrets: json!(secrets).to_string(),
            headers: json!(spec.headers).to_string(),
        };
        let encrypt = |column, clear: &str| keyring.encrypt(clear, Place { column, row: id });
        clear.map(encrypt)
    }

    pub(super) fn decrypted(&self, id: &str, keyring: &Keyring) -> Result<Self, Flaw> {
        self.map(|column, kept| decrypt(keyring, Place { column, row: id }, kept))
    }

    pub(super) fn each_decrypted(&self, id: &str, keyring: &Keyring) -> Decrypted {
        let each = |column, kept: &str| decrypt(keyring, Place { column, row: id }, kept);
        let token = self.auth_token.as_deref();
        Decrypted {
            auth_token: token.map(|token| each("auth_token", token)),
            secrets: each("secrets", &self.secrets),
            headers: each("headers", &self.headers),
        }
    }

    /// The same with every column encrypted by the primary key; `None`: it is already. A column
    /// that was never encrypted is read in clear.
    pub(super) fn renewed(&self, id: &str, keyring: &Keyring) -> Result<Option<Self>, Flaw> {
        let mut kept = [Some(&self.secrets), Some(&self.headers), self.auth_token.as_ref()];
        if kept.iter_mut().flatten().all(|kept| keyring.is_current(kept)) {
            return Ok(None);
        }
        let renew = |column, kept: &str| {
            let place = Place { column, row: id };
            let clear = match keyring.decrypt(kept, place) {
                Err(KeyringError::Clear) => Ok(kept.to_owned()),
                decrypted => decrypted,
            };
            clear
                .and_then(|clear| keyring.encrypt(&clear, place))
                .map_err(|error| Flaw::new(column, error))
        };
        self.map(renew).map(Some)
    }

    fn map<E>(
        &self,
        mut change: impl FnMut(&'static str, &str) -> Result<String, E>,
    ) -> Result<Self, E> {
        let token = self.auth_token.as_deref();
        Ok(Self {
            auth_token: token.map(|token| change("auth_token", token)).transpose()?,
            secrets: change("secrets", &self.secrets)?,
            headers: change("headers", &self.headers)?,
        })
    }
}

/// [`Confidential`], each column by itself.
pub(super) struct Decrypted {
    pub(super) auth_token: Option<Result<String, Flaw>>,
    pub(super) secrets: Result<String, Flaw>,
    pub(super) headers: Result<String, Flaw>,
}

fn decrypt(keyring: &Keyring, place: Place<'_>, kept: &str) -> Result<String, Flaw> {
    keyring.decrypt(kept, place).map_err(|error| Flaw::new(place.column, error))
}

/// The signing secrets of a column that was decrypted.
pub(super) fn read_secrets(secrets: &str) -> Result<Vec<SigningSecret>, Flaw> {
    let secrets: Vec<KeptSecret> = json("secrets", secrets, "a list of secrets")?;
    let secret = |(index, kept)| {
        let (text, expires) = match kept {
            KeptSecret::Lasting(text) => (text, None),
            KeptSecret::Expiring { secret, expires_ms } => {
                (secret, Some(UnixMillis::new(expires_ms)))
            }
        };
        let secret: SigningSecret = checked(&format!("secrets[{index}]"), text)?;
        Ok(secret.with_expiry(expires))
    };
    secrets.into_iter().enumerate().map(secret).collect()
}
