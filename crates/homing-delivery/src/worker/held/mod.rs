//! Held queues: deliveries that wait for their endpoint, and for nothing else.
//!
//! A delivery that an open or frozen circuit refuses goes to the held queue of its URL: one
//! publish, and nothing counts against it. So does each delivery to a URL that takes less than what
//! comes for it ([`super::pace`]): one publish, instead of a place in a lane that others need. It
//! leaves the queue as soon as its endpoint can take it: as a probe while the circuit is open, in
//! its turn while it is closed, about in the order in which it came. A *slot* ([`slots`]), a row of
//! the store, says which queue is whose; [`queue`] takes messages out of one queue.
//!
//! A slot is its URL's, whatever the state of that: one that is slow, open, and slow again keeps it.
//! It is given back when its queue was empty for half a minute and no worker puts anything into it.
//!
//! # Correctness does not depend on slots
//!
//! A worker that takes a message from a held queue looks at the message's own subscription and URL.
//! A held queue whose owner's circuit is closed, or that has no owner, is emptied by every worker;
//! one whose owner's circuit is not closed is left alone, but for probes. So whatever is wrong with
//! a slot costs time and never a delivery:
//!
//! | what happens | what follows |
//! |---|---|
//! | news of a slot is late or lost | a worker holds in the queue that the URL had before; it has no owner and is emptied within [`queue::CHECK_INTERVAL`]s. A slot rests before it is taken again, longer than news is late |
//! | it is another URL's by then, because the store was away for long | the delivery is admitted by its own circuit when that queue is emptied, or comes to its head as a probe is due |
//! | two processes take slots at once | compare and set: a URL has one slot, a slot one URL |
//! | a slot is given back while a publish to it is under way | as the first line |
//! | no slot is free, or the store is away | the delivery waits on the ladder, at its own step, again and again; frozen, it is parked; slow, it goes to the shared queue, or is throttled |
//! | the held queue is full, or its leader is away | it refuses the publish: the ladder, or parked, as without a slot |
//! | the held queue is missing | the broker routes the publish to the unrouted queue, which is emptied to where the message was to go once the topology is declared again; the slot is given back meanwhile |
//! | a worker dies while it empties a queue | the broker has what was not acked again, at the head |
//! | the circuit opens again meanwhile | the worker cancels its consumer; what it has not begun with goes back to the head of the queue, uncharged, at most twice [`crate::settings::EndpointSettings::max_concurrency`] per worker; what is in flight ends as any attempt |
//! | a worker does not know yet that the circuit opened | its attempts count as those that were in flight |
//! | a worker does not know yet that it closed | it goes on holding, and the others take it out |
//! | the process stops | as the circuit opening again; what is in flight has `worker.drain_grace` |
//! | a worker of an earlier version runs beside | it knows no slots: what it takes goes up the ladder or is parked frozen; what is held waits for a worker of this version, and is parked at the end of its time without one |
//! | a subscription moves to another URL, and others stay | what is held for it stays, too, until the queue is emptied |
//! | what is held waits for longer than its schedule is long, and than `held.min_hold` | the broker parks it, with the reason for which it came |
//! | a URL is slow for one worker and not for another | each decides for what it takes: from one worker the deliveries come directly, from the other by the queue |
//! | it is slow no more, and its queue is not empty | new deliveries come directly, beside what is held; both wait for the same permits, in turn |
//! | a delivery waits for its turn for longer than ten minutes | it goes back to the head of the queue, before the broker closes the channel |
//! | half of the slots are those of URLs whose circuit is closed | no other slow URL takes one; those without one share the last queue, which no URL has and which is always emptied; what is in it waits for a permit for as long as in a lane, and is throttled then. Of fewer than 16 queues, none is shared: they share what is left of half of each lane, and the rest is throttled |

mod queue;
mod slots;

use std::{collections::BTreeSet, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use homing_domain::{circuit::CircuitState, url::EndpointUrl};

use super::Context;

pub(super) use slots::Slots;

/// The slot for deliveries to a slow URL: its own, or the shared one. `None`: there is no shared one.
/// It takes one only while fewer than half of them are those of URLs whose circuits are closed, so
/// that there are others for open and frozen ones.
pub(super) async fn slot_of_slow(context: &Context, url: &EndpointUrl) -> Option<u16> {
    let is_closed = |url: &EndpointUrl| context.circuits.state(url) == CircuitState::Closed;
    context.slots.of_slow(url, is_closed).await.or_else(|| context.slots.share())
}

/// Empties and probes the held queues until `stop`.
pub(super) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut news = context.slots.news();
    let queues = TaskTracker::new();
    let mut known = BTreeSet::new();
    while !stop.is_cancelled() {
        news.mark_unchanged();
        for slot in context.slots.all() {
            if known.insert(slot) {
                queues.spawn(queue::run(Arc::clone(&context), slot, stop.clone()));
            }
        }
        let _stopping = stop.run_until_cancelled(news.changed()).await;
    }
    queues.close();
    queues.wait().await;
}
