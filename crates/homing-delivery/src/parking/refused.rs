//! Messages that the store refuses, and the times at which they are tried again.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// The wait after the first refusal of a message; each one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(4);
/// For each refused message all wait so much longer: trying them takes a small part of the time,
/// however many they are, and those behind them come through.
const EACH_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(30 * 60);
/// Messages that are remembered, some megabytes; further ones are tried whenever they come.
const MAX_REMEMBERED: usize = 100_000;

/// Refused messages by SHA-256.
#[derive(Default)]
pub(super) struct RefusedMessages(BTreeMap<[u8; 32], Refused>);

struct Refused {
    next: Instant,
    wait: Duration,
}

impl RefusedMessages {
    /// True if the message was refused, and it is not time to try it again.
    pub(super) fn has_to_wait(&self, digest: &[u8; 32]) -> bool {
        self.0.get(digest).is_some_and(|refused| Instant::now() < refused.next)
    }

    /// Notes that the message was refused; returns true the first time. `is_for_good`: it is likely
    /// to be refused again.
    pub(super) fn refuse(&mut self, digest: [u8; 32], is_for_good: bool) -> bool {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let least = FIRST_WAIT.saturating_add(EACH_WAIT.saturating_mul(count));
        let before = self.0.get(&digest).map(|refused| refused.wait);
        let doubled = before.unwrap_or_default().saturating_mul(2).max(least).min(MAX_WAIT);
        let wait = if is_for_good { doubled } else { FIRST_WAIT };
        if before.is_some() || self.0.len() < MAX_REMEMBERED {
            self.0.insert(digest, Refused { next: Instant::now() + wait, wait });
        }
        before.is_none()
    }

    /// Forgets a message that is in the store now.
    pub(super) fn forget(&mut self, digest: &[u8; 32]) {
        self.0.remove(digest);
    }

    /// Forgets those that have not come for long: another process has added them, or they are gone.
    pub(super) fn forget_old(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, refused| now < refused.next + MAX_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_message_waits_longer_each_time_and_others_do_not() {
        let (one, other) = ([1; 32], [2; 32]);
        let mut refused = RefusedMessages::default();
        assert!(refused.refuse(one, true));
        assert!(refused.has_to_wait(&one) && !refused.has_to_wait(&other));
        advance(FIRST_WAIT).await;
        assert!(!refused.has_to_wait(&one));
        assert!(!refused.refuse(one, true), "it is known");
        advance(FIRST_WAIT + EACH_WAIT).await;
        assert!(refused.has_to_wait(&one));
        advance(FIRST_WAIT).await;
        assert!(!refused.has_to_wait(&one));
        assert!(!refused.refuse(one, false), "such as on a disk that is full");
        advance(FIRST_WAIT).await;
        assert!(!refused.has_to_wait(&one));
        refused.forget(&one);
        assert!(refused.refuse(one, true), "it was kept meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn many_refused_messages_wait_longer_and_are_forgotten_in_the_end() {
        let mut refused = RefusedMessages::default();
        for number in 0..10_000_u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&number.to_be_bytes());
            refused.refuse(digest, true);
        }
        assert!(refused.refuse([9; 32], true));
        advance(Duration::from_secs(15 * 60)).await;
        assert!(refused.has_to_wait(&[9; 32]));
        advance(2 * MAX_WAIT).await;
        refused.forget_old();
        assert!(refused.refuse([9; 32], true));
    }
}
