//! Client certificates that have expired, or will soon.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use homing_domain::{id::SubscriptionId, time::UnixMillis};
use homing_store::{ExpiringCertificate, Store, StoreError};

/// A certificate is listed for so long before it expires.
const WARNING: Duration = Duration::from_hours(24 * 14);
/// Certificates that are listed at most.
const MAX_LISTED: u32 = 100;

/// A subscription whose client certificate has expired, or will within two weeks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ExpiringCertificate)]
pub struct ExpiringCertificateView {
    /// Its id.
    pub id: SubscriptionId,
    /// The end of the certificate's validity; RFC 3339.
    pub expires: String,
    /// True if that is over.
    pub expired: bool,
}

impl ExpiringCertificateView {
    fn new(certificate: &ExpiringCertificate, now: UnixMillis) -> Self {
        let ExpiringCertificate { subscription, expires, .. } = *certificate;
        Self { id: subscription, expires: expires.to_string(), expired: expires <= now }
    }

    /// The remedy.
    #[must_use]
    pub fn advice(&self) -> String {
        format!(
            "give it another one (`homing subscriptions update {} --client-certificate FILE \
             --client-key FILE`)",
            self.id
        )
    }
}

/// The certificates that have expired at `now`, or will soon, those that expire first first.
pub(super) async fn expiring(
    store: &dyn Store,
    now: UnixMillis,
) -> Result<Vec<ExpiringCertificateView>, StoreError> {
    let found = store.expiring_certificates(now.plus(WARNING), MAX_LISTED).await?;
    Ok(found.iter().map(|certificate| ExpiringCertificateView::new(certificate, now)).collect())
}
