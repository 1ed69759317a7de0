//! Wrong tokens: counted, logged, and slowed down.
//!
//! An address may send some wrong tokens at once and then one a second. Beyond that, its tokens are
//! refused unchecked, so that more requests do not make guessing faster. Tokens that were right
//! before from the same address are excepted, so that a client beside an attacker, as behind a
//! proxy, goes on.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::capacity::network;
use homing_domain::api_token::TokenDigest;
use homing_telemetry::{line_limit::LineLimit, metrics};
use parking_lot::Mutex;

/// Wrong tokens that an address may send at once, and then one per interval.
const AT_ONCE: u32 = 20;
const INTERVAL: Duration = Duration::from_secs(1);
/// Lines of the log a minute about all addresses together; about each there is one.
const MAX_LINES: usize = 10;
/// Addresses that are remembered; the one that was seen longest ago makes room.
const MAX_ADDRESSES: usize = 1_024;
/// Right tokens that are remembered of one address.
const MAX_RIGHT: usize = 256;

/// The tokens that addresses sent.
pub(super) struct Guesses(Mutex<Table>);

struct Table {
    addresses: HashMap<IpAddr, Address>,
    lines: LineLimit<IpAddr>,
    /// Wrong tokens that no line has reported.
    unlogged: u64,
}

struct Address {
    seen: Instant,
    /// The instant at which all its wrong tokens are forgotten.
    forgotten: Instant,
    right: Vec<TokenDigest>,
    /// Wrong tokens since the last line about it.
    wrong: u64,
}

impl Default for Guesses {
    fn default() -> Self {
        let (addresses, lines) = (HashMap::new(), LineLimit::new(MAX_LINES));
        Self(Mutex::new(Table { addresses, lines, unlogged: 0 }))
    }
}

impl Guesses {
    /// Permits to check `token`; else, the time after which it will be checked.
    pub(super) fn check(&self, from: IpAddr, token: TokenDigest) -> Result<(), Duration> {
        let now = Instant::now();
        self.with(from, now, |address| {
            let slack = INTERVAL.saturating_mul(AT_ONCE.saturating_sub(1));
            let from = address.forgotten.checked_sub(slack).unwrap_or(now);
            if from <= now || address.right.contains(&token) { Ok(()) } else { Err(from - now) }
        })
    }

    /// `token` is right.
    pub(super) fn right(&self, from: IpAddr, token: TokenDigest) {
        self.with(from, Instant::now(), |address| {
            if address.right.first() != Some(&token) {
                address.right.retain(|known| *known != token);
                address.right.truncate(MAX_RIGHT.saturating_sub(1));
                address.right.insert(0, token);
            }
        });
    }

    /// A token was wrong, or refused unchecked.
    pub(super) fn wrong(&self, from: IpAddr, was_checked: bool) {
        metrics::wrong_token();
        if let Some((wrong, of_others)) = self.count(from, was_checked) {
            warn!(address = %from, wrong, of_others, "api.wrong_token: refused");
        }
    }

    /// Counts a wrong token. Where a line about its address is due: how many came from there since
    /// the one before, and from addresses that were forgotten meanwhile.
    fn count(&self, from: IpAddr, was_checked: bool) -> Option<(u64, u64)> {
        let now = Instant::now();
        self.with(from, now, |address| {
            if was_checked {
                address.forgotten = address.forgotten.max(now) + INTERVAL;
            }
            address.wrong = address.wrong.saturating_add(1);
        });
        let mut table = self.0.lock();
        let Table { addresses, lines, unlogged } = &mut *table;
        let network = network(from);
        let address = addresses.get_mut(&network)?;
        let is_due = lines.is_due(network, now);
        is_due.then(|| (std::mem::take(&mut address.wrong), std::mem::take(unlogged)))
    }

    fn with<T>(&self, from: IpAddr, now: Instant, what: impl FnOnce(&mut Address) -> T) -> T {
        let mut table = self.0.lock();
        let Table { addresses, unlogged, .. } = &mut *table;
        let network = network(from);
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&network) {
            let longest_ago = addresses.iter().min_by_key(|(_, address)| address.seen);
            if let Some(oldest) = longest_ago.map(|(network, _)| *network) {
                let forgotten = addresses.remove(&oldest).map_or(0, |address| address.wrong);
                *unlogged = unlogged.saturating_add(forgotten);
            }
        }
        let address = addresses.entry(network).or_insert_with(|| Address::new(now));
        address.seen = now;
        what(address)
    }
}

impl Address {
    fn new(now: Instant) -> Self {
        Self { seen: now, forgotten: now, right: Vec::new(), wrong: 0 }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use homing_telemetry::line_limit::LINE_INTERVAL;

    fn digest(text: &str) -> TokenDigest {
        TokenDigest::of(text.as_bytes())
    }

    fn address(number: usize) -> IpAddr {
        let [.., high, low] = number.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_slowed_down_and_right_ones_that_are_known_are_not() {
        let guesses = Guesses::default();
        let (attacker, other) = (address(1), address(2));
        guesses.right(attacker, digest("right"));
        for _ in 0..AT_ONCE {
            assert_eq!(guesses.check(attacker, digest("wrong")), Ok(()));
            guesses.wrong(attacker, true);
        }
        assert_eq!(guesses.check(attacker, digest("wrong")), Err(INTERVAL));
        assert_eq!(guesses.check(attacker, digest("right")), Ok(()));
        assert_eq!(guesses.check(other, digest("wrong")), Ok(()));
        let mut checked = 0;
        for _ in 0..600 {
            advance(Duration::from_millis(100)).await;
            let may_check = guesses.check(attacker, digest("wrong")).is_ok();
            guesses.wrong(attacker, may_check);
            checked += u32::from(may_check);
        }
        assert_eq!(checked, 60, "one a second");
        advance(INTERVAL * AT_ONCE).await;
        for _ in 0..AT_ONCE {
            assert_eq!(guesses.check(attacker, digest("wrong")), Ok(()));
            guesses.wrong(attacker, true);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_logged_once_a_minute_and_all_together_a_bounded_number() {
        let guesses = Guesses::default();
        let count = |number| guesses.count(address(number), true);
        let lines = |numbers: std::ops::Range<usize>| numbers.filter_map(count).count();
        assert_eq!((0..100).filter_map(|_| count(1)).count(), 1);
        assert_eq!(guesses.0.lock().addresses[&address(1)].wrong, 99);
        assert_eq!(lines(0..5_000), MAX_LINES - 1);
        assert_eq!(guesses.0.lock().addresses.len(), MAX_ADDRESSES);
        assert!(guesses.0.lock().unlogged > 0);
        advance(LINE_INTERVAL).await;
        assert!(count(4_999).is_some());
        assert_eq!(guesses.0.lock().unlogged, 0);
    }
}
