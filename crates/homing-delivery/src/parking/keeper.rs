//! The keeper: moves what is parked from the queue into the store.
//!
//! The queue is the durable way in. A batch is taken, written to the store in one transaction, and
//! acked only then. One keeper runs in all workers, held apart by the lock of the queue. Commands and
//! pages only wait for it: one that names another store by mistake empties no queue into it.
//!
//! | What happens | What follows |
//! |---|---|
//! | The keeper dies between commit and ack | The batch comes again to the next keeper, which knows it by its digests, writes nothing and acks. Of equal messages, as many count as repeated as may come again. Messages without an id of their publisher are parked once more: they may be different events. |
//! | The answer to a commit is lost | The messages are added once more with the same ids, one by one; an id that is there proves the commit. |
//! | The store is away, or its disk is full | Nothing is acked; the batch returns to the queue, and is tried again after seconds. |
//! | The store refuses some messages, and takes others | Each is tried alone; a refused one is left out until the queue has no others, and returns to it then. It is logged, every list counts it, and it is tried again after seconds, later after half an hour at most; meanwhile those behind it come through. |
//! | A message ends the connection over which it is read | The messages are read one at a time, so that all before it arrive. It and those behind it stay in the queue, and every list counts them; that is logged, and tried again within a minute. |
//! | `parking.max_rows` or `parking.max_bytes` is reached | The rest stays in the queue, and every list reports how many, and which setting. Replaying and dropping make room. |
//! | Two keepers (no lock: the account may not declare queues) | The broker gives each message to one of them. Each forgets only the digests of its own batches, whose acks the broker has. |
//! | Another process has the lock and moves nothing | After a minute, each worker that waits for it logs `parking.held`. |
//! | A worker of an earlier version parks beside it | It parks into the same queue. Its own scans are refused while a keeper runs. |
//! | The broker is away | Nothing is taken. Lists have what is in the store, and say that it is not known what the queue has. |

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::{Parking, ParkingError, entry, refused::RefusedMessages};
use homing_broker::{
    error::BrokerError,
    parked_intake::{Ahead, ParkedIntake, TakenParked},
};
use homing_domain::{clock, report::Chain};
use homing_store::{Intake, ParkedId, ParkedLimit, ParkedMessage, StoreError};

/// Interval at which the keeper, and a worker that is none, look at the queue.
const KEEPER_INTERVAL: Duration = Duration::from_millis(500);
const OTHERS_INTERVAL: Duration = Duration::from_secs(1);
/// After a failure, a bound that was reached, or a lock that was refused: each is a line in a log.
const FAILED_INTERVAL: Duration = Duration::from_secs(5);
/// After many cut connections: each is an interruption for others, too.
const MAX_FAILED_INTERVAL: Duration = Duration::from_secs(60);
/// So many cut connections one after the other are the fault of a message.
const CUTS_REPORTED: u32 = 3;
/// One look of so many does not rely on the broker's count, which may be zero while messages wait.
const CERTAIN_EVERY: u32 = 10;
/// A keeper ends after this long without work, or after the store refused a message.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// Batches that are read one message at a time before others are tried again.
const CAREFUL_BATCHES: u32 = 128;
/// The number of refused messages is noted again after this time: the store forgets it after three
/// minutes.
const NOTED_AGAIN: Duration = Duration::from_secs(60);
/// A lock that another process has for this long, while nothing is moved, is reported.
const HELD_REPORTED: Duration = Duration::from_secs(60);
/// Refused messages that are logged one by one in an intake.
const REFUSED_REPORTED: u32 = 10;

/// The result of moving a batch.
enum Moved {
    /// All of it is in the store, but for those that it refused, which stay unacked.
    Some,
    /// The queue is empty.
    Nothing,
    /// A bound was reached.
    Full(ParkedLimit),
}

/// A keeper, and what it has reported.
struct Keeper<'a> {
    parking: &'a Parking,
    /// Random: that of no other keeper.
    id: Uuid,
    /// Connections that ended one after the other while messages were taken.
    cuts: u32,
    was_full: bool,
    /// Messages of the present intake that the store refused, now or before.
    refused: u32,
    /// Those among them that are new.
    new_refused: u32,
    waiting: RefusedMessages,
    /// Their number as this keeper noted it in the store, and the time at which it did.
    noted: Option<(u32, Instant)>,
    /// The last failure, which is reported once.
    failure: Option<String>,
    /// The standstill while another process has the lock.
    held: Option<Held>,
}

/// The lock is refused while messages wait.
struct Held {
    since: Instant,
    /// [`ParkedTotals::added`](homing_store::ParkedTotals::added) then: nothing was moved as long as
    /// it is the same.
    added: u64,
    is_reported: bool,
}

impl Parking {
    /// Keeps what is parked until `stop`; a batch that is begun is finished.
    pub async fn keep(&self, stop: CancellationToken) {
        let mut keeper = Keeper::new(self);
        let mut look = 0_u32;
        while !stop.is_cancelled() {
            look = look.wrapping_add(1);
            let looked = keeper.look(look.is_multiple_of(CERTAIN_EVERY), &stop).await;
            let pause = match looked {
                Ok(pause) => {
                    keeper.failure = None;
                    pause
                }
                Err(error) => keeper.report(&error),
            };
            stop.run_until_cancelled(sleep(pause)).await;
        }
        if keeper.noted.is_some_and(|(noted, _)| noted > 0) {
            // The next keeper notes what it cannot add; otherwise the store forgets it in minutes.
            keeper.refused = 0;
            let _not_noted = keeper.note_refused().await;
        }
    }
}

impl<'a> Keeper<'a> {
    fn new(parking: &'a Parking) -> Self {
        Self {
            parking,
            id: clock::new_id(),
            cuts: 0,
            was_full: false,
            refused: 0,
            new_refused: 0,
            waiting: RefusedMessages::default(),
            noted: None,
            failure: None,
            held: None,
        }
    }

    /// Moves what comes, if anything waits and no other keeper runs; returns the time until the next
    /// look.
    async fn look(
        &mut self,
        for_certain: bool,
        stop: &CancellationToken,
    ) -> Result<Duration, ParkingError> {
        if !for_certain && self.parking.in_queue().await? == 0 {
            return Ok(OTHERS_INTERVAL);
        }
        let ahead = if self.cuts > 0 { Ahead::None } else { Ahead::Batch };
        let Some(mut intake) = self.parking.broker.parked_intake(ahead).await? else {
            // Another keeper notes what it cannot add.
            self.refused = 0;
            self.note_refused().await?;
            self.note_held().await?;
            return Ok(FAILED_INTERVAL);
        };
        (self.refused, self.new_refused, self.held) = (0, 0, None);
        self.waiting.forget_old();
        let moved = self.move_all(&mut intake, ahead, stop).await;
        self.note_cut(&moved);
        let full = moved?;
        self.note_refused().await?;
        let more = self.new_refused.saturating_sub(REFUSED_REPORTED);
        if more > 0 {
            error!(
                more,
                "parking.refused: the store refuses more messages, which stay in their queue"
            );
        }
        if let (Some(limit), false) = (full, self.was_full) {
            let setting = limit.setting();
            error!(setting, "parking.full: the rest of what is parked waits in its queue");
        }
        self.was_full = full.is_some();
        let goes_on = full.is_none() && self.refused == 0;
        Ok(if goes_on { OTHERS_INTERVAL } else { FAILED_INTERVAL })
    }

    /// Moves batches until nothing has come for a minute, until only those are left that the store
    /// refuses, or until the bound is reached that it returns.
    async fn move_all(
        &mut self,
        intake: &mut ParkedIntake,
        ahead: Ahead,
        stop: &CancellationToken,
    ) -> Result<Option<ParkedLimit>, ParkingError> {
        let (mut end, mut looks, mut batches) = (Instant::now() + MAX_IDLE, 0_u32, 0_u32);
        while Instant::now() < end && !stop.is_cancelled() {
            match self.move_batch(intake, looks.is_multiple_of(CERTAIN_EVERY)).await? {
                Moved::Some => {
                    self.note_more_refused().await?;
                    batches = batches.wrapping_add(1);
                    if ahead == Ahead::None && batches >= CAREFUL_BATCHES {
                        break;
                    }
                    if self.refused == 0 {
                        end = Instant::now() + MAX_IDLE;
                    }
                }
                Moved::Nothing => {
                    self.note_refused().await?;
                    if self.refused > 0 {
                        break;
                    }
                    looks = looks.wrapping_add(1);
                    stop.run_until_cancelled(sleep(KEEPER_INTERVAL)).await;
                }
                Moved::Full(limit) => return Ok(Some(limit)),
            }
        }
        Ok(None)
    }

    async fn move_batch(
        &mut self,
        intake: &mut ParkedIntake,
        for_certain: bool,
    ) -> Result<Moved, ParkingError> {
        let mut taken = intake.take(for_certain).await?;
        if taken.is_empty() {
            return Ok(Moved::Nothing);
        }
        let all = taken.len();
        taken.retain(|one| !self.waiting.has_to_wait(&one.digest));
        let left_out = u32::try_from(all.saturating_sub(taken.len())).unwrap_or(u32::MAX);
        self.refused = self.refused.saturating_add(left_out);
        if taken.is_empty() {
            return Ok(Moved::Some);
        }
        let messages: Vec<_> = taken.iter_mut().map(parked_message).collect();
        let Parking { store, bounds, .. } = self.parking;
        let Ok(added) = store.park(as_noted(intake), &messages, *bounds).await else {
            return self.move_one_by_one(intake, (&taken, &messages)).await;
        };
        intake.ack(taken.get(..added.messages).unwrap_or_default()).await?;
        debug!(messages = added.messages, deliveries = added.deliveries, "parking.kept");
        let Some(limit) = added.limit else { return Ok(Moved::Some) };
        intake.give_back().await?;
        Ok(Moved::Full(limit))
    }

    /// Moves each message alone of a batch that the store did not take as a whole.
    async fn move_one_by_one(
        &mut self,
        intake: &mut ParkedIntake,
        (taken, messages): (&[TakenParked], &[ParkedMessage]),
    ) -> Result<Moved, ParkingError> {
        let Parking { store, bounds, .. } = self.parking;
        for (taken, message) in taken.iter().zip(messages) {
            match store.park(as_noted(intake), std::slice::from_ref(message), *bounds).await {
                Ok(added) => {
                    self.waiting.forget(&taken.digest);
                    let kept = std::slice::from_ref(taken);
                    intake.ack(kept.get(..added.messages).unwrap_or_default()).await?;
                    if let Some(limit) = added.limit {
                        intake.give_back().await?;
                        return Ok(Moved::Full(limit));
                    }
                }
                Err(error) => {
                    // A store that fails does not take an empty batch, either.
                    let is_up = store.park(as_noted(intake), &[], *bounds).await.is_ok();
                    if !is_up {
                        return Err(error.into());
                    }
                    self.refuse(taken, message, &error);
                }
            }
        }
        info!("parking.kept_one_by_one");
        Ok(Moved::Some)
    }

    /// Counts a message that the store refuses, and reports it, if it is new.
    fn refuse(&mut self, taken: &TakenParked, message: &ParkedMessage, error: &StoreError) {
        self.refused = self.refused.saturating_add(1);
        let is_for_good = matches!(error, StoreError::Refused { .. });
        if !self.waiting.refuse(taken.digest, is_for_good) {
            return;
        }
        self.new_refused = self.new_refused.saturating_add(1);
        if self.new_refused <= REFUSED_REPORTED {
            let event = message.deliveries.first().map(|one| one.event.as_str());
            let (id, error) = (message.id, error.report());
            error!(
                %id,
                event,
                error,
                "parking.refused: the store refuses a message, which stays in its queue"
            );
        }
    }

    /// As [`note_refused`](Self::note_refused), while more may come.
    async fn note_more_refused(&mut self) -> Result<(), ParkingError> {
        if self.noted.is_some_and(|(noted, at)| noted > self.refused && at.elapsed() < NOTED_AGAIN)
        {
            return Ok(());
        }
        self.note_refused().await
    }

    /// Has every list know how many the store refuses.
    async fn note_refused(&mut self) -> Result<(), ParkingError> {
        let refused = self.refused;
        let is_noted = self.noted.is_some_and(|(noted, at)| {
            noted == refused && (refused == 0 || at.elapsed() < NOTED_AGAIN)
        });
        if !is_noted {
            self.parking.store.note_refused(self.id, refused).await?;
            self.noted = Some((refused, Instant::now()));
        }
        Ok(())
    }

    /// Counts an intake at whose end the connection was cut, and reports it if that happens again and
    /// again.
    fn note_cut(&mut self, moved: &Result<Option<ParkedLimit>, ParkingError>) {
        match moved {
            Ok(_) => self.cuts = 0,
            Err(ParkingError::Broker(error)) if error.is_cut() => {
                self.cuts = self.cuts.saturating_add(1);
                if self.cuts == CUTS_REPORTED {
                    error!(
                        error = error.report(),
                        "parking.stuck: the connection ends when the next message of the parking \
                         queue is read; those behind it stay there, too"
                    );
                }
            }
            Err(_) => {}
        }
    }

    /// Reports that another process has the lock for a minute and moves nothing of what waits.
    async fn note_held(&mut self) -> Result<(), ParkingError> {
        let waiting = self.parking.in_queue().await?;
        let totals = self.parking.store.parked_totals().await?;
        // The one that has the lock reports why it does not move them.
        if waiting <= totals.refused || totals.limit.is_some() {
            self.held = None;
            return Ok(());
        }
        let (added, since) = (totals.added, Instant::now());
        let held = self.held.get_or_insert(Held { since, added, is_reported: false });
        if held.added != added {
            *held = Held { since, added, is_reported: false };
        }
        if !held.is_reported && held.since.elapsed() >= HELD_REPORTED {
            held.is_reported = true;
            let lock = self.parking.broker.topology().names().scan_lock();
            warn!(
                waiting,
                lock,
                "parking.held: another process has the lock and moves nothing; end a `homing parked` \
                 of an earlier version, or the process whose connection has this queue"
            );
        }
        Ok(())
    }

    /// Reports a failure, once until it is another one; returns the time until the next look.
    fn report(&mut self, error: &ParkingError) -> Duration {
        let text = Chain(error).to_string();
        // The lanes report a broker that is away.
        let is_away = matches!(error, ParkingError::Broker(error)
            if error.is_away() && !matches!(error, BrokerError::TimedOut { .. }));
        if is_away {
            debug!(error = text, "parking.not_kept");
        } else if self.failure.as_ref() != Some(&text) {
            error!(error = text, "parking.not_kept: parked messages wait in their queue");
            self.failure = Some(text);
        }
        match error {
            ParkingError::Broker(_) => {
                let doubled = 2_u32.saturating_pow(self.cuts.saturating_sub(1));
                FAILED_INTERVAL.saturating_mul(doubled).min(MAX_FAILED_INTERVAL)
            }
            ParkingError::Store(_)
            | ParkingError::Unreadable(_)
            | ParkingError::NotRemoved { .. } => FAILED_INTERVAL,
        }
    }
}

/// The intake as the store notes it.
fn as_noted(intake: &ParkedIntake) -> Intake<'_> {
    Intake { queue: intake.queue(), id: intake.id(), batch: intake.batch() }
}

/// The message as it is kept. Its payload is taken along: it may be large.
fn parked_message(taken: &mut TakenParked) -> ParkedMessage {
    let TakenParked { fetched, payload, digest, is_named, unique, is_redelivered, .. } = taken;
    let id = ParkedId::of_message(entry::parked_at(fetched), *unique);
    let deliveries = entry::deliveries(fetched, id);
    let (digest, is_redelivered) = (is_named.then_some(*digest), *is_redelivered);
    let payload = std::mem::take(payload).into();
    ParkedMessage { id, digest, is_redelivered, payload, deliveries }
}
