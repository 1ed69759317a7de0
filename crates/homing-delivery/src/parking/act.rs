//! Replays and drops what is parked.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    panic::resume_unwind,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use tracing::{error, info};
use uuid::Uuid;

use super::{
    Action, Claimed, Parking, ParkingError, Patience, Selection, Tally, part_length,
    recorded::Recorded,
};
use homing_broker::{Outgoing, Recipients, Route, fetched::Fetched};
use homing_domain::{audit::ChangeResult, clock, id::SubscriptionId, report::Chain};
use homing_store::{
    Claim, MAX_PARKED_AT_ONCE, ParkedDelivery, ParkedId, ParkedOrder, ParkedPage, StoreError,
};

/// Deliveries that are claimed and acted on at once, or as many as come in this time where there is
/// a pace.
const MAX_AT_ONCE: u32 = 256;
const PACED_AT_ONCE: Duration = Duration::from_millis(50);
/// A claim lasts for this long: several times as long as acting on what is claimed at once may take.
const CLAIM: Duration = Duration::from_secs(120);
/// Nothing is published under a claim that ends within this time.
const CLAIM_RESERVE: Duration = Duration::from_secs(40);
/// Published deliveries are removed with some patience, before an error is reported.
const REMOVE_TRIES: u32 = 5;
const REMOVE_PAUSE: Duration = Duration::from_secs(1);

impl Parking {
    /// Does `action` with at most `limit` deliveries that match, many at once, in the order in which
    /// they were parked; calls `on_progress` after each batch. Takes none that came into the store
    /// after the start, whatever its clock says, so that replayed deliveries that return meanwhile
    /// are not taken twice. A replay or a drop is on record before anything is done, and how much
    /// was done once it has ended.
    ///
    /// # Errors
    ///
    /// [`ParkingError`]: actions taken until then stay done, the rest is still parked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what is being acted on when it is dropped is finished by a task of its own.
    pub async fn act(
        &self,
        action: Action,
        selection: &Selection,
        limit: Option<u32>,
        mut on_progress: impl FnMut(Tally) + Send,
    ) -> Result<Tally, ParkingError> {
        let continuing = |tally| {
            on_progress(tally);
            ControlFlow::Continue(())
        };
        self.act_while(action, selection, limit, continuing).await
    }

    /// As [`act`](Self::act), until `on_progress` stops it; nothing is left half done.
    ///
    /// # Errors
    ///
    /// As [`act`](Self::act).
    ///
    /// # Cancel safety
    ///
    /// As [`act`](Self::act).
    pub async fn act_while(
        &self,
        action: Action,
        selection: &Selection,
        limit: Option<u32>,
        mut on_progress: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Tally, ParkingError> {
        if action == Action::Replay {
            // It would fail later, or find nothing.
            self.in_queue().await?;
        }
        let patience = if action == Action::Count { Patience::Short } else { Patience::Long };
        let mut tally = self.begin(patience).await?;
        let most = limit.unwrap_or(u32::MAX);
        if action == Action::Count {
            tally.matched = self.count(selection, most).await?;
            // There is nothing left to stop.
            let _done = on_progress(tally);
            return Ok(tally);
        }
        if self.count(selection, 1).await? == 0 {
            // What changes nothing leaves no record.
            let _done = on_progress(tally);
            return Ok(tally);
        }
        let page = self.oldest_first(selection).await?;
        let recorded = self.record(action, selection, limit).await?;
        let acted = self.act_on_page((action, &recorded), (page, most), tally, on_progress).await;
        if acted.is_err() {
            recorded.set(ChangeResult::Failed);
        }
        recorded.end().await;
        acted
    }

    /// Acts on at most `most` of `page`, a part of it at a time.
    async fn act_on_page(
        &self,
        (action, recorded): (Action, &Arc<Recorded>),
        (mut page, most): (ParkedPage, u32),
        mut tally: Tally,
        mut on_progress: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Tally, ParkingError> {
        let mut ticks = self.pace.map(at_pace);
        let (mut unreadable, mut result) = (None, ChangeResult::Done);
        while tally.matched < most {
            if on_progress(tally).is_break() {
                result = ChangeResult::Stopped;
                break;
            }
            page.limit = most.saturating_sub(tally.matched).min(self.at_once());
            let claim = OwnClaim::new();
            let claimed = self.store.claim_parked(&page, claim.claim()).await?;
            let Some(last) = claimed.last() else {
                tally.claimed = self.left_out(&page).await?;
                // There is nothing left to stop.
                let _done = on_progress(tally);
                break;
            };
            page.after = Some(last.id);
            if let Some(ticks) = &mut ticks {
                for _ in &claimed {
                    ticks.tick().await;
                }
            }
            let (done, ended) = self.act_on_all((action, recorded), claimed, claim).await;
            tally.matched = tally.matched.saturating_add(done);
            match ended {
                Ok(()) => {}
                Err(error) if is_about_one(&error) => unreadable = Some(error),
                Err(error) => {
                    // There is nothing left to stop.
                    let _failed = on_progress(tally);
                    return Err(error);
                }
            }
        }
        if let Some(error) = unreadable {
            let _failed = on_progress(tally);
            return Err(error);
        }
        recorded.set(result);
        info!(?action, matched = tally.matched, "parking.acted");
        Ok(tally)
    }

    /// Those that match and are in the store now.
    async fn oldest_first(&self, selection: &Selection) -> Result<ParkedPage, ParkingError> {
        let selection = selection.clone();
        let (up_to, order) =
            (Some(self.store.parked_totals().await?.added), ParkedOrder::OldestFirst);
        Ok(ParkedPage { selection, order, up_to, ..ParkedPage::default() })
    }

    /// Those of `page` that others have claimed, from its start.
    async fn left_out(&self, page: &ParkedPage) -> Result<Option<Claimed>, ParkingError> {
        let page = ParkedPage { after: None, limit: MAX_PARKED_AT_ONCE, ..page.clone() };
        let found = self.store.claimed_parked(&page).await?;
        let claimed = Claimed { deliveries: found.deliveries, until_ms: found.until };
        Ok((found.deliveries > 0).then_some(claimed))
    }

    fn at_once(&self) -> u32 {
        let at_pace = self.pace.map(|pace| PACED_AT_ONCE.as_nanos() / pace.as_nanos().max(1));
        let most = at_pace.map_or(MAX_AT_ONCE, |most| u32::try_from(most).unwrap_or(MAX_AT_ONCE));
        most.clamp(1, MAX_AT_ONCE)
    }

    /// Acts on what is claimed, in a task of its own; returns how many are done. What is not done is
    /// free again.
    async fn act_on_all(
        &self,
        (action, recorded): (Action, &Arc<Recorded>),
        claimed: Vec<ParkedDelivery>,
        claim: OwnClaim,
    ) -> (u32, Result<(), ParkingError>) {
        let (parking, recorded) = (self.clone(), Arc::clone(recorded));
        let acting = self.acting.spawn(async move {
            let mut done = 0_u32;
            let mut rest = claimed.as_slice();
            let mut ended = Ok(());
            while !rest.is_empty() && ended.as_ref().err().is_none_or(is_about_one) {
                let (part, behind) = rest.split_at(part_length(rest));
                rest = behind;
                let (acted, failed) = parking.act_on(action, part, claim).await;
                ended = ended.and(failed);
                recorded.add(acted);
                done = done.saturating_add(acted);
            }
            if ended.is_err() {
                // Also those that were removed: of them nothing is there to be released. Never those
                // that were sent and are there still.
                let sent = parking.sent.lock().clone();
                let ids = claimed.iter().map(|one| one.id).filter(|id| !sent.contains(id));
                let ids: Vec<_> = ids.collect();
                let released = parking.store.extend_claim(&ids, claim.ended()).await;
                if let Err(error) = released {
                    info!(error = error.report(), "parking.not_released: the claim ends by itself");
                }
            }
            (done, ended)
        });
        // It is never aborted.
        acting.await.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()))
    }

    /// Acts on deliveries that are claimed; returns how many are done.
    async fn act_on(
        &self,
        action: Action,
        claimed: &[ParkedDelivery],
        claim: OwnClaim,
    ) -> (u32, Result<(), ParkingError>) {
        let (sent_before, new): (Vec<_>, Vec<_>) = {
            let sent = self.sent.lock();
            claimed.iter().partition(|one| sent.contains(&one.id))
        };
        let sent_before = sent_before.iter().map(|one| one.id);
        let (mut done, ended) = match action {
            Action::Replay => match self.publish(&new, claim).await {
                Ok(published) => published,
                Err(error) => return (0, Err(error)),
            },
            Action::Drop | Action::Count => (new.iter().map(|one| one.id).collect(), Ok(())),
        };
        let count = done.len();
        done.extend(sent_before);
        let removed = match action {
            Action::Replay => self.remove_sent(done, claim).await,
            Action::Drop | Action::Count => {
                self.store.remove_parked(&done).await.map(drop).map_err(ParkingError::from)
            }
        };
        match removed {
            Ok(()) => (u32::try_from(count).unwrap_or(u32::MAX), ended),
            Err(error) => (0, Err(error)),
        }
    }

    /// Publishes deliveries; returns those that are confirmed, and the first error.
    async fn publish(
        &self,
        claimed: &[&ParkedDelivery],
        claim: OwnClaim,
    ) -> Result<(Vec<ParkedId>, Result<(), ParkingError>), ParkingError> {
        let ids: Vec<_> = claimed.iter().map(|one| one.id).collect();
        let messages = self.store.parked_messages(&ids).await?;
        let mut ended = Ok(());
        let mut restored = BTreeMap::new();
        for id in ids.iter().map(|id| id.message()).collect::<BTreeSet<_>>() {
            match self.restored(id, messages.get(&id)) {
                Ok(fetched) => drop(restored.insert(id, fetched)),
                Err(unreadable) => ended = Err(unreadable.into()),
            }
        }
        if claim.is_about_to_end() {
            let step = "acting on parked deliveries while they are claimed";
            return Err(StoreError::Busy { step }.into());
        }
        let publishes = claimed.iter().filter_map(|one| {
            let fetched = restored.get(&one.id.message())?;
            let outgoing = replayed(fetched, one.recipient.map(|(subscription, _)| subscription));
            Some(async move { (one.id, self.broker.publish(&outgoing, Route::Retry).await) })
        });
        let mut sent = Vec::with_capacity(claimed.len());
        for (id, published) in join_all(publishes).await {
            match published {
                Ok(()) => sent.push(id),
                Err(error) => ended = Err(error.into()),
            }
        }
        Ok((sent, ended))
    }

    /// Removes deliveries that were sent. If the store does not, they are remembered, so that none is
    /// sent again, and a task goes on trying.
    async fn remove_sent(
        &self,
        sent: Vec<ParkedId>,
        mut claim: OwnClaim,
    ) -> Result<(), ParkingError> {
        let mut tries = 0_u32;
        let source = loop {
            tries = tries.saturating_add(1);
            match self.remove_claimed(&sent, &mut claim).await {
                Ok(()) => {
                    self.forget_sent(&sent);
                    return Ok(());
                }
                Err(error) if tries >= REMOVE_TRIES => break error,
                Err(_) => sleep(REMOVE_PAUSE).await,
            }
        };
        let not_removed = ParkingError::NotRemoved { sent: sent.len(), source };
        error!(error = %Chain(&not_removed), "parking.not_removed");
        self.sent.lock().extend(&sent);
        let parking = self.clone();
        self.acting.spawn(async move {
            while parking.remove_claimed(&sent, &mut claim).await.is_err() {
                sleep(REMOVE_PAUSE).await;
            }
            parking.forget_sent(&sent);
            info!(deliveries = sent.len(), "parking.removed");
        });
        Err(not_removed)
    }

    /// Removes what is claimed. If the store does not, the claim lasts on, so that no other process
    /// sends it.
    async fn remove_claimed(
        &self,
        sent: &[ParkedId],
        claim: &mut OwnClaim,
    ) -> Result<(), StoreError> {
        let removed = self.store.remove_parked(sent).await.map(drop);
        if removed.is_err() && claim.is_about_to_end() {
            let began = Instant::now();
            if self.store.extend_claim(sent, claim.claim()).await.is_ok() {
                claim.began = began;
            }
        }
        removed
    }

    fn forget_sent(&self, removed: &[ParkedId]) {
        self.sent.lock().retain(|id| !removed.contains(id));
    }
}

/// A claim as its owner sees it. The store counts it by its own clock, from later on.
#[derive(Clone, Copy)]
struct OwnClaim {
    id: Uuid,
    began: Instant,
}

impl OwnClaim {
    fn new() -> Self {
        Self { id: clock::new_id(), began: Instant::now() }
    }

    fn claim(self) -> Claim {
        Claim { id: self.id, lasts: CLAIM }
    }

    fn ended(self) -> Claim {
        Claim { id: self.id, lasts: Duration::ZERO }
    }

    fn is_about_to_end(self) -> bool {
        self.began.elapsed().saturating_add(CLAIM_RESERVE) > CLAIM
    }
}

/// True if one message cannot be read: the others are acted on.
fn is_about_one(error: &ParkingError) -> bool {
    matches!(error, ParkingError::Unreadable(_))
}

/// The message of one delivery to replay, so that workers of every version read it. Deliveries and
/// events alike go through the retry queue: only that queue keeps the count of replays.
fn replayed(fetched: &Fetched, subscription: Option<SubscriptionId>) -> Outgoing {
    match &fetched.content {
        Ok(message) => {
            let recipients = Recipients::named(subscription);
            message.to(recipients, message.progress.replayed()).outgoing()
        }
        Err(unreadable) => unreadable.replayed(),
    }
}

/// Time in which nothing was done is not caught up on: the pace is never exceeded.
fn at_pace(between: Duration) -> Interval {
    let mut pace = interval(between);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
