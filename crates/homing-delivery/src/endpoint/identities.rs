//! Clients by the certificate that they present: connections belong to one identity.
//!
//! Endpoints to which no certificate of a subscription is presented never come here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{client::Client, sweeping::Sweeping, tls::identity};
use homing_domain::subscription::{CertificateId, ClientCertificate, FieldError};

/// A client that was not used for so long is dropped; its connections were closed before.
const MAX_UNUSED: Duration = Duration::from_mins(10);
/// Kept clients are checked for unused ones this often.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// Clients that are kept; of more, the one that was not used for the longest time is dropped. Its
/// connections end with the requests on them.
const MAX_CLIENTS: usize = 1_000;

/// The clients of one [`Endpoints`](super::Endpoints).
pub(super) struct Identities {
    /// Presents none of a subscription.
    common: Client,
    kept: Mutex<Kept>,
    /// The task that drops unused clients.
    sweeping: Sweeping,
}

#[derive(Default)]
struct Kept {
    clients: HashMap<CertificateId, (Client, Instant)>,
}

impl Identities {
    /// Clients that differ from `common` in their certificate alone.
    pub(super) fn new(common: Client) -> Arc<Self> {
        Arc::new(Self { common, kept: Mutex::default(), sweeping: Sweeping::default() })
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
        self.sweeping.begin(self, SWEEP_INTERVAL, Self::sweep);
        // Beside the lock: reading a key takes a while. Of two at a time, the first one stays.
        let client = self.common.as_identity(identity(certificate.reveal())?);
        Ok(self.kept.lock().keep(id, client, now))
    }

    fn sweep(&self) {
        let now = Instant::now();
        let is_used = |used: Instant| now.duration_since(used) < MAX_UNUSED;
        self.kept.lock().clients.retain(|_, (_, used)| is_used(*used));
    }
}

impl Kept {
    fn find(&mut self, id: CertificateId, now: Instant) -> Option<Client> {
        let (client, used) = self.clients.get_mut(&id)?;
        *used = now;
        Some(client.clone())
    }

    fn keep(&mut self, id: CertificateId, client: Client, now: Instant) -> Client {
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&id) {
            let oldest = self.clients.iter().min_by_key(|(_, (_, used))| *used);
            let oldest = oldest.map(|(id, _)| *id);
            oldest.and_then(|id| self.clients.remove(&id));
        }
        self.clients.entry(id).or_insert((client, now)).0.clone()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::time::sleep;

    use super::*;
    use crate::endpoint::{dns::Dns, resolve::Resolver, tests::samples::settings};
    use homing_domain::subscription::ClientCertificatePem;

    fn identities() -> Arc<Identities> {
        let resolver = Resolver::anywhere(Dns::new(Vec::new(), Duration::from_secs(1)));
        Identities::new(Client::new(&settings(), resolver, None).unwrap())
    }

    /// Different ones of the same key: an empty line more makes another text.
    fn certificates() -> impl Iterator<Item = ClientCertificate> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["homing".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        (0..).map(move |number| {
            let certificate = format!("{certificate}{}", "\n".repeat(number));
            let pem = ClientCertificatePem { certificate, key: key.serialize_pem() };
            ClientCertificate::new(pem).unwrap()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_not_used_is_dropped_though_no_other_is_used() {
        let identities = identities();
        let one = certificates().next().unwrap();
        drop(identities.client(&one).unwrap());
        let kept = || identities.kept.lock().clients.len();
        sleep(MAX_UNUSED / 2).await;
        assert_eq!(kept(), 1);
        sleep(MAX_UNUSED).await;
        assert_eq!(kept(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_the_one_that_was_unused_for_longest_is_dropped() {
        let identities = identities();
        let all: Vec<_> = certificates().take(MAX_CLIENTS + 1).collect();
        for one in &all[..MAX_CLIENTS] {
            drop(identities.client(one).unwrap());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        drop(identities.client(&all[0]).unwrap());
        drop(identities.client(&all[MAX_CLIENTS]).unwrap());
        let kept = identities.kept.lock();
        assert_eq!(kept.clients.len(), MAX_CLIENTS);
        let is_kept = |number: usize| kept.clients.contains_key(&all[number].id());
        assert_eq!((is_kept(0), is_kept(1), is_kept(MAX_CLIENTS)), (true, false, true));
    }
}
