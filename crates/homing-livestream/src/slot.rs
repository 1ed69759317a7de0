//! Holds one slot: reads its connection while this process has the lock and the source is to be
//! read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    reader::{ConnectionEvent, RecordSink},
    recent::Seen,
    record::{Facts, is_object},
    rule::{Disconnect, Takeover},
    sources::Source,
};
use homing_broker::{Message, lock::Lock, pipeline::Pipeline};
use homing_domain::{
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    source::{Phase, Reset, SlotReport},
    time::UnixMillis,
    topic::Topic,
};
use homing_store::StoreError;
use homing_telemetry::{log_events, sources as telemetry};
use parking_lot::Mutex;

/// The maximum size of all unconfirmed records together.
const MAX_UNCONFIRMED_BYTES: usize = 16 * 1_024 * 1_024;
/// The holder reports its slot this often.
const REPORT_INTERVAL_S: u64 = 10;
/// After a failure of the store.
const RETRY: Duration = Duration::from_secs(1);

/// A slot held by this process.
struct Held {
    source: Arc<Source>,
    slot: u8,
    pipeline: Pipeline,
    report: Mutex<SlotReport>,
    records: AtomicU64,
}

/// Holds a slot until `stop`, until the source is no longer to be read, or until the lock is lost.
/// `refused`: when another process last had it, as far as this one knows.
pub(super) async fn hold(
    source: Arc<Source>,
    slot: u8,
    lock: Lock,
    refused: Option<Instant>,
    stop: CancellationToken,
) {
    let over = stop.child_token();
    let mut is_lost = false;
    let watching = async {
        tokio::select! {
            () = lock.lost() => true,
            () = source.is_not_read() => false,
            () = over.cancelled() => false,
        }
    };
    let pipeline = source.broker.pipeline(source.shared.max_unconfirmed, MAX_UNCONFIRMED_BYTES);
    let report = Mutex::new(source.report(slot));
    let held = Held { source: Arc::clone(&source), slot, pipeline, report, records: 0.into() };
    let mut stopped = None;
    {
        let mut reading = Box::pin(held.read(refused, &over));
        tokio::select! {
            lost = watching => {
                is_lost = lost;
                over.cancel();
                // What has been read is published, but for no longer than others have to wait.
                drop(timeout(source.drain_grace, &mut reading).await);
            }
            reason = &mut reading => stopped = reason,
        }
    }
    if let Some(reason) = stopped {
        source.stop_for_good(reason, &stop).await;
    }
    held.leave(lock, is_lost).await;
}

impl Held {
    fn names(&self) -> telemetry::Slot<'_> {
        telemetry::Slot { source: &self.source.name, slot: self.slot }
    }

    /// Reads until `over`, or until the service refuses permanently: then returns the reason.
    async fn read(&self, refused: Option<Instant>, over: &CancellationToken) -> Option<String> {
        let first_wait = over.run_until_cancelled(self.take_over(refused)).await?;
        telemetry::slot_taken(self.names(), first_wait);
        let reading = self.source.reader.run(first_wait, self, over);
        tokio::select! {
            stopped = reading => stopped,
            never = self.keep_reporting() => match never {},
        }
    }

    /// The wait before the first connect. Returns only after the store knows that this slot is in
    /// use.
    async fn take_over(&self, refused: Option<Instant>) -> Duration {
        let Source { store, waits, broker, .. } = self.source.as_ref();
        let slots = store.slots(&self.source.name).await;
        let takeover = match &slots {
            Err(error) => {
                log_events::store_unavailable("reading the slots of a source", error);
                Takeover::Unknown
            }
            Ok(slots) => slots
                .iter()
                .find(|report| report.slot == self.slot)
                .map_or(Takeover::First, Takeover::After),
        };
        let now = clock::now();
        let wait = waits.after_takeover(takeover, broker.lock_fence(), now);
        let since_refused = refused.map_or(Duration::MAX, |refused| refused.elapsed());
        let of_other = waits.after_leaving(fastrand::f64()).saturating_sub(since_refused);
        let wait = wait.max(of_other);
        {
            let mut report = self.report.lock();
            report.phase = Phase::Waiting;
            report.not_before = Some(now.plus(wait));
        }
        while let Err(error) = self.write().await {
            log_events::store_unavailable("reporting a slot", &error);
            tokio::time::sleep(RETRY).await;
        }
        wait
    }

    async fn write(&self) -> Result<(), StoreError> {
        let mut report = self.report.lock().clone();
        report.records = self.records.load(Ordering::Relaxed);
        report.seen = clock::now();
        self.source.store.report_slot(&self.source.name, &report).await
    }

    async fn report_slot(&self) {
        if let Err(error) = self.write().await {
            log_events::store_unavailable("reporting a slot", &error);
        }
    }

    /// Reports repeatedly that the slot is still held.
    async fn keep_reporting(&self) -> std::convert::Infallible {
        let mut seconds: u64 = 0;
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        loop {
            clock.tick().await;
            seconds = seconds.wrapping_add(1);
            if seconds.is_multiple_of(REPORT_INTERVAL_S) {
                self.report_slot().await;
            }
        }
    }

    /// The connection has ended: publishes what was read, records the end, and releases the lock.
    async fn leave(self, lock: Lock, is_lost: bool) {
        self.source.count_connected(self.slot, false);
        let now = clock::now();
        let waits = self.source.waits;
        {
            let mut report = self.report.lock();
            let was_connected = matches!(report.phase, Phase::Connecting | Phase::Connected);
            if was_connected {
                let wait = waits.after_leaving(fastrand::f64());
                report.not_before = Some(now.plus(wait));
            }
            report.phase = Phase::Free;
            report.since = now;
            report.detail = None;
        }
        if !is_lost {
            self.report_slot().await;
        }
        lock.release().await;
        telemetry::slot_left(self.names(), is_lost);
        let Self { source, slot, pipeline, .. } = self;
        if timeout(source.drain_grace, pipeline.finish()).await.is_err() {
            telemetry::unpublished(telemetry::Slot { source: &source.name, slot });
        }
    }

    /// `is_other`: its hit's id was that of another record.
    fn message(&self, record: Bytes, facts: &Facts, is_other: bool) -> Message {
        let generated = || EventId::from(clock::new_id());
        let id = facts.hit.map(|hit| hit.to_string());
        let id = if is_other { id.map(|id| of_content(&id, &record)) } else { id };
        let id = id.and_then(|id| EventId::new(&id).ok()).unwrap_or_else(generated);
        let prefix = &self.source.settings.topic;
        let topic = Topic::new(&format!("{prefix}.{}", facts.topic_word()));
        // Both parts are bounded and valid; the prefix alone is a topic, too.
        let topic = topic.or_else(|_| Topic::new(prefix)).unwrap_or_else(|_| self.source.topic());
        let content_type = CONTENT_TYPE_DEFAULT.to_owned();
        let (content_encoding, body) = (None, record);
        Message::of_event(Event { id, topic, content_type, content_encoding, body })
    }
}

/// An id that a hit gets whose own belongs to another record. The same record gets it again.
fn of_content(id: &str, record: &Bytes) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(record));
    format!("{id}-{digest}")
}

#[async_trait]
impl RecordSink for Held {
    async fn take(&self, record: Bytes) {
        let source = &self.source.name;
        telemetry::record(source);
        self.records.fetch_add(1, Ordering::Relaxed);
        if !is_object(&record) {
            telemetry::not_a_record(self.names(), &record);
            return;
        }
        let facts = Facts::of(&record);
        let seen = facts.hit.map_or(Seen::Never, |hit| self.source.remember(hit, &record));
        if seen == Seen::Same {
            telemetry::duplicate(source);
            return;
        }
        if let Some(received) = facts.received.and_then(|seconds| i64::try_from(seconds).ok()) {
            let received = UnixMillis::new(received.saturating_mul(1_000));
            telemetry::lag(source, clock::now().since(received));
        }
        let message = self.message(record, &facts, seen == Seen::Other);
        if let Err(error) = self.pipeline.publish(message.outgoing()).await {
            telemetry::not_published(source, &error.report());
        }
    }

    fn skipped(&self, bytes: u64) {
        telemetry::oversized(self.names(), bytes);
    }

    fn received(&self, bytes: usize) {
        telemetry::received(&self.source.name, bytes);
    }

    async fn on_event(&self, event: ConnectionEvent) {
        let (source, now) = (&self.source.name, clock::now());
        let phase = event.phase();
        self.source.count_connected(self.slot, phase == Phase::Connected);
        let mut detail = None;
        let mut not_before = None;
        match event {
            ConnectionEvent::Connecting => {}
            ConnectionEvent::Silent => {
                telemetry::silent(self.names());
                detail = Some("no byte for a minute".to_owned());
            }
            ConnectionEvent::Renewing => {
                telemetry::connect(source, "401");
                telemetry::renewing(self.names());
            }
            ConnectionEvent::Connected(reset) => {
                telemetry::connect(source, "200");
                telemetry::stream_connected(self.names(), reset);
                self.records.store(0, Ordering::Relaxed);
            }
            ConnectionEvent::Waiting(wait, ended, streak) => {
                not_before = Some(now.plus(wait));
                if let Some(ended) = ended {
                    count_ended(source, &ended);
                    let (why, suspicious) = (ended.to_string(), streak.is_suspicious());
                    telemetry::waiting(self.names(), wait, &why, suspicious);
                    let hint = "; `max_connections` is probably wrong, or another client reads it";
                    detail = Some(if suspicious { format!("{why}{hint}") } else { why });
                }
            }
        }
        {
            let mut report = self.report.lock();
            if report.phase != phase {
                report.since = now;
            }
            (report.phase, report.detail, report.not_before) = (phase, detail, not_before);
        }
        self.report_slot().await;
    }

    async fn take_reset(&self) -> Option<Reset> {
        self.source.store.take_reset(&self.source.name).await.unwrap_or_else(|error| {
            log_events::store_unavailable("taking a reset", &error);
            None
        })
    }

    async fn keep_reset(&self, reset: Reset) {
        let kept = self.source.store.set_reset(&self.source.name, reset, clock::now()).await;
        if let Err(error) = kept {
            log_events::store_unavailable("keeping a reset", &error);
        }
    }
}

/// Counts a failed connect; a lost connection was counted when it was opened.
pub(super) fn count_ended(source: &str, ended: &Disconnect) {
    match ended {
        Disconnect::Lost(_) => {}
        Disconnect::Refused(refusal) => telemetry::connect(source, &refusal.status.to_string()),
        Disconnect::Unreachable(_) => telemetry::connect(source, "unreachable"),
        Disconnect::BadRedirect(_) => telemetry::connect(source, "redirect"),
        Disconnect::NoToken(_) => telemetry::connect(source, "token"),
    }
}
