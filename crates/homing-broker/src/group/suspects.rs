//! Messages that the broker will probably refuse again. One that ends its channel has its whole
//! group sent twice, so they go alone.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Publish;
use crate::{error::BrokerError, publish::Address};

/// Addresses that are remembered; beyond that the oldest are forgotten.
const MAX_DENIED: usize = 64;
/// An address is remembered for this long: what is denied is published again within seconds.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Sizes and addresses that the broker has refused.
#[derive(Default)]
pub(crate) struct Suspects {
    /// The size of the smallest message that was too large for the broker; 0: none was.
    too_large: AtomicUsize,
    /// Addresses to which this account may not publish, and when that was last said.
    denied: Mutex<VecDeque<(Address, Instant)>>,
    /// True if there may be any, so that ordinary messages need no lock.
    any_denied: AtomicBool,
}

impl Suspects {
    /// Notes that the broker refused a message.
    pub(crate) fn note(&self, publish: &Publish, error: &BrokerError) {
        if error.is_final() {
            let bytes = publish.body.len().max(1);
            let noted = self.too_large.load(Ordering::Relaxed);
            if noted == 0 || bytes < noted {
                self.too_large.store(bytes, Ordering::Relaxed);
            }
        } else if error.is_denied() {
            let mut denied = self.denied.lock();
            denied.retain(|(address, _)| *address != publish.address);
            denied.push_back((publish.address.clone(), Instant::now()));
            if denied.len() > MAX_DENIED {
                denied.pop_front();
            }
            self.any_denied.store(true, Ordering::Relaxed);
        }
    }

    /// Returns true if the broker will probably refuse `publish`.
    pub(crate) fn contains(&self, publish: &Publish) -> bool {
        let too_large = self.too_large.load(Ordering::Relaxed);
        too_large > 0 && publish.body.len() >= too_large
            || self.any_denied.load(Ordering::Relaxed) && self.is_denied(&publish.address)
    }

    fn is_denied(&self, address: &Address) -> bool {
        let mut denied = self.denied.lock();
        denied.retain(|(_, at)| at.elapsed() < REMEMBERED);
        self.any_denied.store(!denied.is_empty(), Ordering::Relaxed);
        denied.iter().any(|(one, _)| one == address)
    }
}
