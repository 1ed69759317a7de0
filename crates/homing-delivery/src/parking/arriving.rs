//! The part of what is parked that lists and actions leave out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::Parking;
use homing_broker::error::BrokerError;
use homing_domain::{
    text::Word,
    time::{UnixMillis, iso8601},
};
use homing_store::{ParkedLimit, ParkedTotals, StoreError};

/// Interval at which a list looks if everything has arrived; each look asks the leader of the queue.
/// It is more than the time after which the broker reports zero in place of a leader that does not
/// answer.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);
/// The broker waits so long for the leader of a queue, and then counts none. Source:
/// `rabbit_quorum_queue:stat`.
const LEADER_TIMEOUT: Duration = Duration::from_millis(250);
/// A list waits no longer than this without any message arriving, or for the broker.
const STALLED: Duration = Duration::from_secs(2);

/// A look into the parking queue.
#[derive(Clone, Copy)]
pub(super) struct Look {
    began: Instant,
    found: Result<Waiting, &'static str>,
}

/// The messages in the queue, at least.
#[derive(Clone, Copy)]
struct Waiting {
    messages: u32,
    /// False: the broker may have counted none because the leader of the queue did not answer.
    is_sure: bool,
}

/// The patience of what waits until the queue is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Of lists and counts: two seconds, and one look that finds the queue empty is enough.
    Short,
    /// Of actions and exports, which take a while themselves and must not leave out anything in
    /// silence: a minute, and a second look has to find the queue empty, too.
    Long,
}

impl Patience {
    fn duration(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(2),
            Self::Long => Duration::from_secs(60),
        }
    }
}

/// Parked messages that are not in the store yet, and in no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ParkedArriving)]
pub struct Arriving {
    /// Their number, at least; `null`: it is not known.
    pub messages: Option<u32>,
    /// The setting because of which the store takes no more; `null`: they are on their way.
    #[serde(default, deserialize_with = "homing_domain::text::word_if_any")]
    #[schema(value_type = Option<String>)]
    pub limit: Option<Word>,
    /// Those among them that the store refuses; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u32>,
    /// The reason why the number is not known; absent: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "homing_domain::text::word_if_any")]
    #[schema(value_type = Option<String>)]
    pub error: Option<Word>,
}

/// Deliveries that an action left out, because another one acts on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ParkedClaimed)]
pub struct Claimed {
    /// Their number, up to 1,000.
    pub deliveries: u32,
    /// They can be acted on after this instant at the latest.
    #[serde(rename = "until", alias = "until_ms", with = "iso8601")]
    #[schema(value_type = String, format = DateTime)]
    pub until_ms: UnixMillis,
}

impl Default for Arriving {
    /// Nothing.
    fn default() -> Self {
        Self { messages: Some(0), limit: None, refused: None, error: None }
    }
}

impl Arriving {
    fn unknown(error: &'static str) -> Self {
        Self { messages: None, error: Some(error), ..Self::default() }
    }

    /// True if everything that is parked is in the store.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self.messages == Some(0)
    }

    /// One sentence about it, without a full stop; `None`: everything is in the store.
    #[must_use]
    pub fn note(self) -> Option<String> {
        let Some(messages) = self.messages else {
            let why = self.error.unwrap_or("the broker does not answer");
            return Some(format!("it is not known if more are on their way into the store: {why}"));
        };
        match (messages, self.limit, self.refused) {
            (0, _, _) => None,
            (_, Some(limit), _) => Some(format!(
                "{messages} more stay in the parking queue: the store takes no more of them; replay \
                 or drop some, or raise {limit}"
            )),
            (_, None, Some(refused)) => Some(format!(
                "{messages} more are in the parking queue; the store refuses {refused} of them, and \
                 the log of a worker says why (parking.refused)"
            )),
            (_, None, None) => Some(format!(
                "{messages} more are on their way into the store; a running worker takes them \
                 there, or its log says why not (parking.stuck, parking.not_kept, parking.held)"
            )),
        }
    }
}

impl Claimed {
    /// One sentence about it, without a full stop.
    #[must_use]
    pub fn note(self) -> String {
        let Self { deliveries, until_ms } = self;
        format!(
            "{deliveries} were left out: another replay or drop acts on them, or was killed while \
             it did; they are free again at {until_ms}"
        )
    }
}

impl Parking {
    /// Waits until keepers have moved what is in the queue into the store, as long as `patience` says,
    /// no longer than two seconds without any message arriving, and not where the store takes none
    /// of them; returns what still waits.
    pub(super) async fn arriving(&self, patience: Patience) -> Result<Arriving, StoreError> {
        let until = Instant::now() + patience.duration();
        let (mut fewest, mut arrived) = (u32::MAX, Instant::now());
        let mut is_second = patience == Patience::Short;
        loop {
            let (waiting, is_sure) = match self.look().await {
                Ok(Waiting { messages, is_sure }) => (messages, is_sure),
                Err(why) => return Ok(Arriving::unknown(why)),
            };
            if waiting < fewest {
                (fewest, arrived) = (waiting, Instant::now());
            }
            let totals = self.store.parked_totals().await?;
            let now = Instant::now();
            let is_over = if waiting == 0 {
                is_sure && is_second
            } else {
                waiting <= totals.refused || totals.limit.is_some()
            };
            if is_over || now >= until || now >= arrived + STALLED {
                return Ok(if is_sure {
                    left_in_queue(waiting, totals)
                } else {
                    Arriving::unknown("the broker cannot count the parking queue")
                });
            }
            is_second |= is_sure && waiting == 0;
            // As long as more may arrive.
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Looks into the queue, or returns why that is not possible. Those who ask at the same time share
    /// one look, which began after they asked.
    async fn look(&self) -> Result<Waiting, &'static str> {
        let asked = Instant::now();
        let mut last = self.last_look.lock().await;
        if let Some(Look { began, found }) = *last
            && began >= asked
        {
            return found;
        }
        let began = Instant::now();
        let found = match timeout(STALLED, self.in_queue()).await {
            Ok(Ok(messages)) => {
                let is_sure = messages > 0 || began.elapsed() < LEADER_TIMEOUT;
                Ok(Waiting { messages, is_sure })
            }
            Ok(Err(error)) => Err(error.summary()),
            Err(_elapsed) => Err("the broker does not answer"),
        };
        *last = Some(Look { began, found });
        found
    }

    /// Messages that are in the queue, at least. A keeper consumes it while a batch is in work, whose
    /// messages the broker does not count.
    pub(super) async fn in_queue(&self) -> Result<u32, BrokerError> {
        let queue = self.broker.topology().names().parked();
        let depth = self.broker.depth(&queue).await?;
        Ok(depth.map_or(0, |depth| depth.messages.max(depth.consumers.min(1))))
    }
}

/// The messages in the queue, of which the broker counts `waiting`: a keeper may hold refused ones.
fn left_in_queue(waiting: u32, totals: ParkedTotals) -> Arriving {
    Arriving {
        messages: Some(waiting.max(totals.refused)),
        limit: totals.limit.filter(|_| waiting > 0).map(ParkedLimit::setting),
        refused: (totals.refused > 0).then_some(totals.refused),
        error: None,
    }
}
