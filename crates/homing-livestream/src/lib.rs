//! Sources: streams that homing reads, record by record, and publishes as events.
//!
//! Keeps connections as long as possible, each held by one process only. The path of a record:
//! [`connect`] opens the stream (a token from [`token`], a request by [`http`]), [`reader`] reads
//! it endlessly and reconnects by the [`rule`], [`gunzip`] decompresses, [`split`] cuts, [`record`]
//! reads the ids, [`recent`] drops repeated hits, [`slot`] publishes with confirms. Locks at the
//! broker decide which process has which connection ([`seek`]); [`admin`] is for operators.
//!
//! Guarantees: a record that was read is published, unless the process is killed or the broker
//! accepts nothing for longer than the drain's grace; data that the broker cannot take is not read;
//! a source has at most `max_connections` connections in the whole installation; after every loss,
//! and for every new holder, the rule's wait. Not guaranteed: order.
//!
//! Without the feature `reader`, only settings and administration are built: a process that reads
//! nothing knows the sources of its pool, shows and sets them.
//!
//! A connection is taken over after its holder released it and recorded the time. Otherwise the
//! holder may not know yet that it lost the lock, for no longer than the lock's fence: then the new
//! holder waits that much longer.

mod admin;
pub mod settings;

#[cfg(feature = "reader")]
mod connect;
#[cfg(feature = "reader")]
pub mod gunzip;
#[cfg(feature = "reader")]
mod http;
#[cfg(feature = "reader")]
mod reader;
#[cfg(feature = "reader")]
pub mod recent;
#[cfg(feature = "reader")]
pub mod record;
#[cfg(feature = "reader")]
pub mod rule;
#[cfg(feature = "reader")]
mod seek;
#[cfg(feature = "reader")]
mod slot;
#[cfg(feature = "reader")]
mod sources;
#[cfg(feature = "reader")]
pub mod split;
#[cfg(feature = "reader")]
mod token;

#[cfg(test)]
#[cfg(feature = "reader")]
mod tests;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::settings::LivestreamSettings;

pub use self::admin::{SlotView, SourceAdmin, SourceAdminError, View, views};
#[cfg(feature = "reader")]
pub use self::sources::Sources;

/// Changes with every setting that could change the service's answer. Reveals no secret.
fn fingerprint(settings: &LivestreamSettings) -> String {
    // Plain data; a failure here would be a bug of serde.
    let text = serde_json::to_string(settings).unwrap_or_default();
    STANDARD.encode(Sha256::digest(text))
}
