//! The columns of a subscription that hold secrets.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    flaw::{Flaw, checked, json},
    keyring::{Keyring, KeyringError, Place},
};
use homing_domain::{
    signature::SigningSecret,
    subscription::{
        Authentication, ClientCertificate, ClientCertificatePem, FieldError, SubscriptionSpec,
    },
    time::UnixMillis,
};

/// The columns that hold secrets, each encrypted as a whole. No `Debug`: decrypted, they are in
/// clear.
#[derive(sqlx_macros::FromRow)]
pub(super) struct Confidential {
    pub(super) auth_token: Option<String>,
    /// A list of [`KeptSecret`] in JSON.
    pub(super) secrets: String,
    /// An object of texts in JSON.
    pub(super) headers: String,
    /// An [`Authentication`] in JSON.
    pub(super) authentication: Option<String>,
    /// A [`ClientCertificatePem`] in JSON.
    pub(super) client_certificate: Option<String>,
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
        let certificate = spec.client_certificate.as_ref();
        let clear = Self {
            auth_token: spec.auth_token.as_ref().map(|token| token.reveal().to_owned()),
            secrets: json!(secrets).to_string(),
            headers: json!(spec.headers).to_string(),
            authentication: spec.authentication.as_ref().map(|it| json!(it).to_string()),
            client_certificate: certificate.map(|it| json!(it.reveal()).to_string()),
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
        let certificate = self.client_certificate.as_deref();
        Decrypted {
            auth_token: token.map(|token| each("auth_token", token)),
            secrets: each("secrets", &self.secrets),
            headers: each("headers", &self.headers),
            authentication: self.authentication.as_deref().map(|it| each("authentication", it)),
            client_certificate: certificate.map(|it| each("client_certificate", it)),
        }
    }

    /// The same with every column encrypted by the primary key; `None`: it is already. A column
    /// that was never encrypted is read in clear.
    pub(super) fn renewed(&self, id: &str, keyring: &Keyring) -> Result<Option<Self>, Flaw> {
        let optional = [&self.auth_token, &self.authentication, &self.client_certificate];
        let mut kept =
            [&self.secrets, &self.headers].into_iter().chain(optional.into_iter().flatten());
        if kept.all(|kept| keyring.is_current(kept)) {
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
        let mut optional = |column, kept: &Option<String>| {
            kept.as_deref().map(|kept| change(column, kept)).transpose()
        };
        Ok(Self {
            auth_token: optional("auth_token", &self.auth_token)?,
            authentication: optional("authentication", &self.authentication)?,
            client_certificate: optional("client_certificate", &self.client_certificate)?,
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
    pub(super) authentication: Option<Result<String, Flaw>>,
    pub(super) client_certificate: Option<Result<String, Flaw>>,
}

fn decrypt(keyring: &Keyring, place: Place<'_>, kept: &str) -> Result<String, Flaw> {
    keyring.decrypt(kept, place).map_err(|error| Flaw::new(place.column, error))
}

/// The credentials of a column that was decrypted.
pub(super) fn read_authentication(text: &str) -> Result<Authentication, Flaw> {
    let read: Authentication = json("authentication", text, "a way to authenticate")?;
    read.check().map(|()| read).map_err(|FieldError { field, message }| Flaw::new(field, message))
}

/// The client certificate of a column that was decrypted.
pub(super) fn read_certificate(text: &str) -> Result<ClientCertificate, Flaw> {
    let pem: ClientCertificatePem = json("client_certificate", text, "a certificate and a key")?;
    let read = ClientCertificate::new(pem);
    read.map_err(|FieldError { field, message }| Flaw::new(field, message))
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

/// Refuses what an earlier homing, which does not know these columns, may have put together.
pub(super) fn check_together(spec: &SubscriptionSpec) -> Result<(), Flaw> {
    if spec.authentication.is_some() && spec.auth_token.is_some() {
        return Err(Flaw::new("authentication", "is set beside `auth_token`"));
    }
    if spec.client_certificate.is_some() && spec.url.url().scheme() != "https" {
        return Err(Flaw::new("client_certificate", "is set for a URL that is not `https://`"));
    }
    Ok(())
}
