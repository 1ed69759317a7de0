//! The obligation to answer the broker for one message.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::mpsc;

/// A share of the obligation to answer for one message.
///
/// The message is acked when every share is settled. A share that is dropped unsettled gives the
/// message back: it comes again, to this process or to another. Consumed by settling: a second
/// answer does not compile.
#[derive(Debug)]
#[must_use = "dropping a receipt unsettled gives the message back to the broker"]
pub struct Receipt {
    shared: Arc<Shared>,
    settled: bool,
}

#[derive(Debug)]
struct Shared {
    tag: u64,
    shares: AtomicUsize,
    dropped: AtomicBool,
    rejected: AtomicBool,
    answers: mpsc::Sender<Answer>,
}

/// The answer to the broker for the message with this delivery tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The message was processed.
    Ack(u64),
    /// The message is to be redelivered.
    GiveBack(u64),
    /// Nothing can be done with it: the broker moves it to the parking queue.
    Reject(u64),
}

impl Receipt {
    /// `answers` has room for one answer for every message that the broker sends ahead.
    pub(super) fn new(tag: u64, answers: mpsc::Sender<Answer>) -> Self {
        let shared = Shared {
            tag,
            shares: AtomicUsize::new(1),
            dropped: AtomicBool::default(),
            rejected: AtomicBool::default(),
            answers,
        };
        Self { shared: Arc::new(shared), settled: false }
    }

    /// A receipt without a broker, for messages that no broker sent.
    pub fn detached() -> Self {
        let (answers, _receiver) = mpsc::channel(1);
        Self::new(0, answers)
    }

    /// A further share of the same obligation.
    pub fn share(&self) -> Self {
        self.shared.shares.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), settled: false }
    }

    /// Completes when nothing can be settled any more: the channel has ended, and the broker has the
    /// message back.
    pub(super) async fn void(&self) {
        self.shared.answers.closed().await;
    }

    /// Settles this share; the message is acked when all shares are.
    pub fn settle(mut self) {
        self.settled = true;
    }
}

impl Receipt {
    /// Rejects a message that can never be processed: the broker moves it to the parking queue when
    /// all shares are settled. Where another share is dropped, it is redelivered first.
    pub fn reject(mut self) {
        self.settled = true;
        self.shared.rejected.store(true, Ordering::Relaxed);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let shared = &self.shared;
        if !self.settled {
            shared.dropped.store(true, Ordering::Relaxed);
        }
        if shared.shares.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let answer = if shared.dropped.load(Ordering::Relaxed) {
            Answer::GiveBack(shared.tag)
        } else if shared.rejected.load(Ordering::Relaxed) {
            Answer::Reject(shared.tag)
        } else {
            Answer::Ack(shared.tag)
        };
        // There is always room. An error means that the channel has ended: then the broker has
        // the message back already.
        let _unneeded = shared.answers.try_send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_acked_when_its_last_share_is_settled() {
        let (answers, mut given) = mpsc::channel(1);
        let first = Receipt::new(7, answers);
        let second = first.share();
        first.settle();
        assert!(given.try_recv().is_err());
        second.settle();
        assert_eq!(given.try_recv(), Ok(Answer::Ack(7)));
    }

    #[test]
    fn one_share_refused_has_the_broker_park_the_message() {
        let (answers, mut given) = mpsc::channel(1);
        let first = Receipt::new(7, answers);
        let second = first.share();
        first.reject();
        second.settle();
        assert_eq!(given.try_recv(), Ok(Answer::Reject(7)));
    }

    #[test]
    fn one_share_dropped_gives_the_message_back() {
        let (answers, mut given) = mpsc::channel(1);
        let first = Receipt::new(7, answers);
        let second = first.share();
        drop(first);
        second.settle();
        assert_eq!(given.try_recv(), Ok(Answer::GiveBack(7)));
    }
}
