//! The catalogue of events about deliveries and lanes; the worker emits no others about them.

use std::{error::Error, fmt, time::Duration};

use tracing::{debug, error, field, info, warn};

use super::{deferred::Sum, metrics};
use homing_domain::{
    circuit::{CircuitState, CircuitTransition, Reason},
    delivery::Delivery,
    event::Event,
    id::SubscriptionId,
    outcome::Outcome,
    report::Chain,
    subscription::Subscription,
    url::EndpointUrl,
    verdict::{ParkReason, Verdict},
};

/// An attempt that has ended, and its circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    /// The delivery before the attempt.
    pub delivery: &'a Delivery,
    /// The subscription that it is for.
    pub subscription: &'a Subscription,
    /// The outcome.
    pub outcome: &'a Outcome,
    /// From the start to the end of the exchange.
    pub duration: Duration,
}

/// Reports an attempt that has ended; the one event for it. A success is logged at `debug` only: a
/// line for each of ten thousand a second costs more than all else that is done beside the request,
/// and the attempt log has them.
pub fn attempted(attempted: &Attempted<'_>, verdict: &Verdict) {
    let Attempted { delivery, subscription, outcome, duration } = *attempted;
    metrics::attempted(outcome, duration);
    if matches!(verdict, Verdict::Done) {
        metrics::delivered();
    }
    let wait_ms = verdict.wait().map(millis);
    macro_rules! emit {
        ($emit:ident) => {
            $emit!(
                delivery.id = %delivery.id(),
                delivery.attempt = delivery.next_attempt().get(),
                event.id = %delivery.event.id,
                subscription.id = %delivery.subscription,
                topic = %delivery.event.topic,
                url = %subscription.spec.url,
                %outcome,
                verdict = verdict_word(verdict),
                wait_ms,
                duration_ms = millis(duration),
                "delivery.attempted"
            )
        };
    }
    match verdict {
        Verdict::Done => emit!(debug),
        Verdict::Wait { .. } | Verdict::Park(_) => emit!(info),
    }
}

/// A whole number in every format of the log.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "done",
        Verdict::Wait { .. } => "wait",
        Verdict::Park(_) => "park",
    }
}

/// An attempt could not be made: a bug or a broken setting. One of many is logged;
/// [`deferred`] has the line about all.
pub fn not_attempted(delivery: &Delivery, cause: &(dyn Error + 'static), is_logged: bool) {
    metrics::held();
    if is_logged {
        error!(
            delivery.id = %delivery.id(),
            event.id = %delivery.event.id,
            subscription.id = %delivery.subscription,
            error = %Chain(cause),
            "delivery.not_attempted: a failure of homing; nothing is charged to the endpoint; \
             logged once a minute for each URL"
        );
    }
}

/// A delivery was put back without an attempt; [`deferred`] has the line about it and others.
pub fn held(delivery: &Delivery, why: &str, cause: Option<&(dyn Error + 'static)>) {
    metrics::held();
    debug!(
        delivery.id = %delivery.id(),
        event.id = %delivery.event.id,
        subscription.id = %delivery.subscription,
        why,
        error = cause.map(|cause| field::display(Chain(cause))),
        "delivery.held"
    );
}

/// Deliveries to one URL were put back for one reason, in ten seconds; `None`: to several URLs, or to
/// one that is not known.
pub fn deferred(url: Option<&EndpointUrl>, why: &str, sum: &Sum) {
    let Sum { deliveries, error } = sum;
    info!(url = url.map(field::display), why, deliveries, error, "deliveries.deferred");
}

/// A delivery to a slow endpoint went to its held queue; not worth a line each.
pub fn held_as_slow(delivery: &Delivery) {
    metrics::held();
    metrics::held_as_slow();
    debug!(delivery.id = %delivery.id(), "delivery.held_as_slow");
}

/// A delivery waits for the rest of the time that its endpoint requested; not worth a line each.
pub fn waits_on(delivery: &Delivery, remaining: Duration) {
    metrics::held();
    debug!(delivery.id = %delivery.id(), remaining_ms = millis(remaining), "delivery.waits_on");
}

/// A delivery waited until its subscription could be read, and the subscription does not match it.
pub fn not_wanted(delivery: &Delivery) {
    info!(
        delivery.id = %delivery.id(),
        event.id = %delivery.event.id,
        subscription.id = %delivery.subscription,
        "delivery.not_wanted"
    );
}

/// A delivery found its endpoint busy; [`deferred`] has the line about it and others.
pub fn throttled() {
    metrics::throttled();
    debug!("delivery.throttled");
}

/// The broker sent again what this process had just done.
pub fn repetition_skipped(delivery: &Delivery) {
    info!(delivery.id = %delivery.id(), event.id = %delivery.event.id, "delivery.repetition_skipped");
}

/// An event or a delivery goes to the parking queue.
pub fn parked(event: &Event, subscription: Option<SubscriptionId>, reason: ParkReason) {
    metrics::parked(reason, subscription.is_some());
    info!(
        event.id = %event.id,
        topic = %event.topic,
        subscription.id = subscription.map(field::display),
        body_bytes = event.body.len(),
        %reason,
        "delivery.parked"
    );
}

/// The broker will never take a copy of this message: it is rejected, and so parked by the broker.
pub fn refused_by_broker(id: &str, why: &(dyn Error + 'static)) {
    metrics::parked(ParkReason::TooLarge, true);
    error!(event.id = id, reason = %ParkReason::TooLarge, error = %Chain(why), "delivery.refused_by_broker");
}

/// Filters cannot read the body of an event; the first of its topic is logged.
pub fn unreadable_by_filters(event: &Event, error: &dyn fmt::Display, is_first: bool) {
    metrics::event_not_json();
    if is_first {
        warn!(
            event.id = %event.id,
            topic = %event.topic,
            %error,
            "event.not_json: parked for subscriptions with filters; logged once per topic"
        );
    }
}

/// The filters of a subscription cost too much; the first time is logged.
pub fn filter_over_budget(event: &Event, subscription: SubscriptionId, is_first: bool) {
    metrics::filter_over_budget();
    if is_first {
        warn!(
            event.id = %event.id,
            topic = %event.topic,
            subscription.id = %subscription,
            "filter.over_budget: the event is parked for this subscription; logged once per subscription"
        );
    }
}

/// A message that is not an event goes to the parking queue.
pub fn parked_unreadable(id: Option<&str>, why: &dyn fmt::Display) {
    metrics::parked(ParkReason::Unreadable, false);
    warn!(message.id = id, %why, "event.unreadable");
}

/// A lane consumes.
pub fn lane_started(lane: &'static str, prefetch: u16) {
    info!(lane, prefetch, "lane.started");
}

/// A lane takes no more and lets what is in flight end.
pub fn lane_draining(lane: &'static str, in_flight: usize) {
    info!(lane, in_flight, "lane.draining");
}

/// The grace period of a drain is over: these deliveries go back to the broker.
pub fn lane_gave_back(deliveries: usize) {
    warn!(deliveries, "lane.gave_back: they did not end within `worker.drain_grace`");
}

/// Messages begin to be spread over the shards, or all go to the first one.
pub fn topology_spread(is_spread: bool) {
    if is_spread {
        info!("topology.spread: every shard gets messages");
    } else {
        warn!(
            "topology.not_spread: everything goes to the first shard, while a worker of an earlier \
             version runs, by its reports to the store of the last 15 minutes"
        );
    }
}

/// A lane ended; unless homing stops, it starts again.
pub fn lane_ended(lane: &'static str, stopping: bool, error: Option<&str>) {
    match error {
        Some(error) => warn!(lane, error, "lane.failed: trying again until it works"),
        None if stopping => info!(lane, "lane.drained"),
        None => warn!(lane, "lane.lost: the broker sends no more"),
    }
}

/// A circuit changed its state.
pub fn circuit_changed(url: &EndpointUrl, change: &CircuitTransition) {
    metrics::circuit_changed(change.to.name());
    match (change.to, change.reason) {
        // An operator has just decided this, so that no other one has to act.
        (_, Reason::Disabled | Reason::Enabled) | (CircuitState::Closed, _) => {
            info!(%url, %change, "circuit.changed");
        }
        (CircuitState::Open { .. }, _) => warn!(%url, %change, "circuit.changed"),
        (CircuitState::Frozen, _) => {
            error!(%url, %change, "circuit.changed: enable the endpoint when it works again");
        }
    }
}

/// A circuit cannot be read; the rules apply without it.
pub fn circuit_corrupt(why: &dyn fmt::Display) {
    error!(%why, "circuit.corrupt");
}

/// Records of attempts were not kept: the number since the start.
pub fn records_missed(missed: u64) {
    warn!(missed, "attempts.not_recorded: the store is too slow; deliveries go on without it");
}

/// The process ends and leaves records of attempts behind that the store did not take.
pub fn records_left(left: u64) {
    warn!(left, "attempts.left: the store did not take them before the end");
}

/// Records of attempts were pruned, because they are old or too many.
pub fn records_pruned(count: u64) {
    debug!(count, "attempts.pruned");
}

/// The store is unavailable; the last known states apply.
pub fn store_unavailable(step: &str, cause: &(dyn Error + 'static)) {
    warn!(step, error = %Chain(cause), "store.unavailable");
}

/// An OAuth 2.0 token was obtained.
pub fn token_obtained(endpoint: &str, client: &str, lifetime: Duration) {
    let lifetime_s = lifetime.as_secs();
    debug!(endpoint, client, lifetime_s, "oauth2_token.obtained");
}

/// An OAuth 2.0 token was not obtained; the present one is sent until it expires.
pub fn token_not_obtained(client: &str, error: &dyn fmt::Display) {
    warn!(
        client,
        %error,
        "oauth2_token.not_obtained: deliveries that need it wait, and are charged nothing"
    );
}

/// A change could not be announced; other processes find it by polling.
pub fn not_announced(error: &str) {
    warn!(error, "control.not_announced: workers follow within seconds");
}

/// The store did not take the end of the ledger in time: the hours of this worker stay open.
pub fn ledger_left_open() {
    warn!("ledger.left_open: the store did not take the last figures; their hour is not provable");
}

/// The store did not take the first hour of the ledger in time: deliveries began without it.
pub fn ledger_not_opened() {
    warn!("ledger.not_opened: deliveries begin; this hour is not provable");
}

/// No name could be taken by which others find the end of this process.
pub fn ledger_without_name(error: &dyn fmt::Display) {
    warn!(
        %error,
        "ledger.without_name: if this worker is killed, a day is not provable instead of an hour"
    );
}

/// Circuits of unused URLs were pruned.
pub fn circuits_pruned(count: u64) {
    debug!(count, "circuits.pruned");
}

/// Log lines were lost, because standard error is read too slowly: the number since the start.
pub fn log_lines_lost(lost: u64) {
    warn!(lost, "log.lines_lost: standard error is read too slowly");
}
