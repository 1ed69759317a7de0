//! Clients by the certificate that they present: connections belong to one identity.
//!
//! Endpoints to which no certificate of a subscription is presented never come here.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    client::Client,
    recent::{Recent, SWEEP_INTERVAL},
    sweeping::Sweeping,
    tls::identity,
};
use homing_domain::subscription::{CertificateId, ClientCertificate, FieldError};

/// Clients that are kept, with their connections; those of one that is dropped end with the requests
/// on them.
const MAX_CLIENTS: usize = 1_000;

/// The clients of one [`Endpoints`](super::Endpoints).
pub(super) struct Identities {
    /// Presents none of a subscription.
    common: Client,
    kept: Mutex<Recent<CertificateId, Client>>,
    /// The task that drops unused clients.
    sweeping: Sweeping,
}

impl Identities {
    /// Clients that differ from `common` in their certificate alone.
    pub(super) fn new(common: Client) -> Arc<Self> {
        let kept = Mutex::new(Recent::new(MAX_CLIENTS));
        Arc::new(Self { common, kept, sweeping: Sweeping::default() })
    }

    /// The client that presents `certificate`.
    ///
    /// # Errors
    ///
    /// [`FieldError`]: it cannot be used.
    pub(super) fn client(
        self: &Arc<Self>,
        certificate: &ClientCertificate,
    ) -> Result<Client, FieldError> {
        let (id, now) = (certificate.id(), Instant::now());
        if let Some(client) = self.kept.lock().find(id, now) {
            return Ok(client);
        }
        self.sweeping.begin(self, SWEEP_INTERVAL, |it| it.kept.lock().sweep(Instant::now()));
        // Beside the lock: reading a key takes a while. Of two at a time, the first one stays.
        let client = self.common.as_identity(identity(certificate.reveal())?);
        Ok(self.kept.lock().keep(id, client, now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};
    use tokio::time::sleep;

    use super::*;
    use crate::endpoint::{
        dns::Dns, recent::MAX_UNUSED, resolve::Resolver, tests::samples::settings,
    };
    use homing_domain::subscription::ClientCertificatePem;

    fn identities() -> Arc<Identities> {
        let resolver = Resolver::anywhere(Dns::new(Vec::new(), Duration::from_secs(1)));
        Identities::new(Client::new(&settings(), resolver, None).unwrap())
    }

    fn certificate() -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["homing".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let pem = ClientCertificatePem { certificate, key: key.serialize_pem() };
        ClientCertificate::new(pem).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_not_used_is_dropped_though_no_other_is_used() {
        let identities = identities();
        drop(identities.client(&certificate()).unwrap());
        let kept = || identities.kept.lock().len();
        sleep(MAX_UNUSED / 2).await;
        assert_eq!(kept(), 1);
        sleep(MAX_UNUSED).await;
        assert_eq!(kept(), 0);
    }
}
