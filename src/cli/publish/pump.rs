//! Publishing many lines at once.

use std::{collections::BTreeMap, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    input::{Line, Lines},
    line::Reader,
    publisher::{Publisher, Unpublished},
    summary::Summary,
};
use crate::cli::{failure::Failure, output::Output, progress::Progress};
use homing_broker::Message;
use homing_delivery::worker::{NotKnown, Wanted};
use homing_domain::id::EventId;

/// Published events that wait until it is found who wants them; of those beyond it is not known.
const MAX_FINDING: usize = 128;

/// Publishes every line; returns when each is confirmed or given up.
///
/// Ctrl-C ends the reading and waits for what is in flight; a second Ctrl-C ends that too.
pub(super) async fn pump(
    publisher: &Publisher,
    mut lines: Lines,
    reader: Reader,
    output: &mut Output<'_>,
) -> Result<Summary, Failure> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    let progress = Progress::counting(output, "published");
    let mut pump = Pump { reader, summary: Summary::default(), progress, output };
    let (mut sending, mut finding) = (FuturesUnordered::new(), FuturesUnordered::new());
    let mut waiting: BTreeMap<u64, EventId> = BTreeMap::new();
    let mut is_reading = true;
    while is_reading || !sending.is_empty() || !finding.is_empty() {
        tokio::select! {
            Some((sent, result)) = sending.next() => {
                let Sent { number, message }: Sent = sent;
                let Some(id) = waiting.remove(&number) else { continue };
                let (known, result) = match result {
                    Ok(known) => (Some(known), Ok(())),
                    Err(unpublished) => (None, Err(unpublished)),
                };
                is_reading &= pump.sent(number, id, result);
                match known {
                    Some(Some(known)) => pump.summary.interest.add(&message, known),
                    Some(None) if finding.len() < MAX_FINDING => {
                        finding.push(find(publisher, message));
                    }
                    Some(None) => {
                        pump.summary.interest.add(&message, Err(NotKnown::NotRead));
                    }
                    None => {}
                }
            }
            Some((message, wanted)) = finding.next() => {
                pump.summary.interest.add(&message, wanted);
            }
            line = lines.next(), if is_reading && sending.len() < publisher.max_in_flight() => {
                match line {
                    Ok(Some(line)) => if let Some((number, id, message)) = pump.read(line) {
                        waiting.insert(number, id);
                        sending.push(send(publisher, Sent { number, message }));
                    },
                    Ok(None) => is_reading = false,
                    Err(failure) => {
                        pump.stopped(&failure.report());
                        is_reading = false;
                    }
                }
            }
            _ = interrupts.recv() => {
                if !is_reading { break }
                pump.stopped("interrupted; waiting for what is in flight");
                is_reading = false;
            }
        }
    }
    for (number, id) in waiting {
        pump.unconfirmed(number, &id, "interrupted");
    }
    pump.progress.end();
    Ok(pump.summary)
}

/// A broker that restarts is back within this many tries.
fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(4))
        .with_max_times(6)
        .with_jitter()
}

/// A line that is published, and its number.
struct Sent {
    number: u64,
    message: Message,
}

type Known = Option<Result<Wanted, NotKnown>>;

async fn send(publisher: &Publisher, line: Sent) -> (Sent, Result<Known, Unpublished>) {
    let publish = || publisher.publish(&line.message);
    let result = publish.retry(pauses()).when(|error| !error.is_final()).await;
    (line, result)
}

async fn find(publisher: &Publisher, message: Message) -> (Message, Result<Wanted, NotKnown>) {
    let wanted = publisher.wanted(&message, None).await;
    (message, wanted)
}

/// Turns lines into messages, and results into the summary.
struct Pump<'a, 'b> {
    reader: Reader,
    summary: Summary,
    progress: Progress,
    output: &'a mut Output<'b>,
}

impl Pump<'_, '_> {
    /// The message to publish; `None` for a blank line and a bad one.
    fn read(&mut self, line: Line) -> Option<(u64, EventId, Message)> {
        let number = line.number;
        self.summary.lines_read = number;
        let read = if let Some(bytes) = line.bytes {
            let end = usize::from(bytes.ends_with(b"\r"));
            let bytes = bytes.slice(..bytes.len().saturating_sub(end));
            if bytes.iter().all(u8::is_ascii_whitespace) {
                return None;
            }
            self.reader.read(&bytes)
        } else {
            let max_bytes = self.reader.max_line_bytes();
            Err(format!("longer than {max_bytes} bytes (`worker.max_event_bytes` and a bit)"))
        };
        match read {
            Ok((id, message)) => Some((number, id, message)),
            Err(why) => {
                self.progress.notice(self.output, format_args!("line {number}: {why}"));
                self.summary.bad(number, why);
                None
            }
        }
    }

    /// Records a result; true: go on reading.
    fn sent(&mut self, number: u64, id: EventId, sent: Result<(), Unpublished>) -> bool {
        match sent {
            Ok(()) => {
                self.summary.confirmed(id);
                self.progress.one_more();
                true
            }
            Err(error) if error.is_final() => {
                self.progress
                    .notice(self.output, format_args!("line {number}: {}", error.report()));
                self.summary.bad(number, error.report());
                true
            }
            Err(error) => {
                self.unconfirmed(number, &id, &error.report());
                false
            }
        }
    }

    fn unconfirmed(&mut self, number: u64, id: &EventId, why: &str) {
        let text = format!("line {number} (id {id}) is not confirmed; publish it again: {why}");
        self.progress.notice(self.output, text);
        self.summary.unconfirmed(number);
    }

    fn stopped(&mut self, why: &str) {
        let last = self.summary.lines_read;
        self.progress.notice(self.output, format_args!("stopped after line {last}: {why}"));
        self.summary.is_cut_short = true;
    }
}
