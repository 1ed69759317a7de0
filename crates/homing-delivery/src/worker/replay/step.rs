//! A step of a replay: the next events of the archive, and who gets them.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use super::{Fault, Running, recipients::Recipient};
use crate::worker::{Context, intake, matching::Match};
use homing_broker::{Message, Outgoing, Route, archive::ArchiveReader};
use homing_domain::{delivery::Progress, url::EndpointUrl};

/// Events that are sent in one step at most.
const MAX_STEP: usize = 128;
/// Bytes of them, beyond which a step takes no further event.
const MAX_STEP_BYTES: usize = 8 * 1_024 * 1_024;
/// A step ends after this time of reading, however little it has found.
const MAX_READING: Duration = Duration::from_secs(1);

/// The events of one step, and their deliveries.
#[derive(Default)]
pub(super) struct Step {
    events: Vec<(Message, Vec<Recipient>)>,
    pub(super) deliveries: u64,
    bytes: usize,
    pub(super) read: u64,
    pub(super) unreadable: u64,
    pub(super) gone: u64,
    /// Deliveries for endpoints that are left out.
    pub(super) left_out: u64,
    /// The position behind it.
    pub(super) next: u64,
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Step {
    /// The endpoints that get its deliveries.
    pub(super) fn urls(&self) -> HashSet<&EndpointUrl> {
        let recipients = self.events.iter().flat_map(|(_, recipients)| recipients);
        recipients.filter_map(|recipient| recipient.url.as_ref()).collect()
    }

    /// Removes the deliveries for an endpoint, and counts them.
    pub(super) fn leave_out(&mut self, url: &EndpointUrl) {
        for (_, recipients) in &mut self.events {
            let before = recipients.len();
            recipients.retain(|recipient| recipient.url.as_ref() != Some(url));
            let removed = count(before.saturating_sub(recipients.len()));
            self.left_out = self.left_out.saturating_add(removed);
            self.deliveries = self.deliveries.saturating_sub(removed);
        }
    }

    /// The messages that carry its deliveries.
    pub(super) fn copies(&mut self, context: &Context) -> Vec<(Outgoing, Route)> {
        let events = std::mem::take(&mut self.events).into_iter();
        let copies = events.flat_map(|(message, recipients)| {
            let matches = recipients.into_iter().map(|recipient| recipient.matched).collect();
            intake::copies(context, &message, matches)
        });
        copies.collect()
    }
}

impl Running<'_> {
    /// Reads the events of the next step, and finds who gets them.
    pub(super) async fn read(
        &self,
        reader: &mut ArchiveReader,
        (position, end): (u64, u64),
    ) -> Result<Step, Fault> {
        self.check_chosen().await?;
        let most = self.step_size.get();
        let until = Instant::now() + MAX_READING;
        let mut step = Step { next: position, ..Step::default() };
        while step.next < end
            && step.events.len() < MAX_STEP
            && step.deliveries < most
            && step.bytes < MAX_STEP_BYTES
            && Instant::now() < until
        {
            let Some(archived) = reader.next().await? else {
                return Err(Fault::Passing("the archive sent nothing for seconds".to_owned()));
            };
            let offset = archived.offset;
            if offset > step.next && self.is_oldest(offset).await? {
                step.gone = step.gone.saturating_add(offset.min(end).saturating_sub(step.next));
            }
            if offset >= end {
                step.next = end;
                break;
            }
            step.next = offset.saturating_add(1);
            step.read = step.read.saturating_add(1);
            match archived.content {
                _ if archived.is_copy => {}
                Ok(message) if self.replay.selection.has(&message.event) => {
                    if message.event.body.len() > self.context.settings.max_event_bytes {
                        step.unreadable = step.unreadable.saturating_add(1);
                        continue;
                    }
                    self.add(message, &mut step).await;
                    if self.replay.selection.event.is_some() {
                        step.next = end;
                    }
                }
                Ok(_) => {}
                Err(_) => step.unreadable = step.unreadable.saturating_add(1),
            }
        }
        Ok(step)
    }

    /// Returns true if the broker has removed what was before `offset`. It skips positions of its
    /// own, too.
    async fn is_oldest(&self, offset: u64) -> Result<bool, Fault> {
        let oldest = self.context.broker.archive_oldest().await?;
        Ok(oldest.is_none_or(|oldest| oldest >= offset))
    }

    /// Adds the deliveries of one event.
    async fn add(&self, mut message: Message, step: &mut Step) {
        let mut matches = self.matches(&message).await;
        let all = matches.len();
        // They were parked when the event was new.
        matches.retain(|one| !matches!(one, Match::Undecided(..)));
        let undecided = count(all.saturating_sub(matches.len()));
        step.unreadable = step.unreadable.saturating_add(undecided);
        if matches.is_empty() {
            return;
        }
        // As after a replay of what was parked, and distinct from other replays of the event.
        let replay = Some(self.replay.id);
        message.progress = Progress { replays: 1, replay, ..Progress::default() };
        message.parked = None;
        step.deliveries = step.deliveries.saturating_add(count(matches.len()));
        step.bytes = step.bytes.saturating_add(message.event.body.len());
        step.events.push((message, self.recipients(matches)));
    }
}
