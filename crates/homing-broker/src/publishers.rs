//! The publishers: messages wait for the publishers of their queue, which take them in groups.
//!
//! A publisher takes all that waits for a queue, up to the bounds of a group, and takes the next
//! group when the broker has confirmed this one: the busier the broker, the larger the groups, and a
//! message that is alone waits for none. Each queue has publishers of its own, so that one that does
//! not answer holds up only what is for it: the broker's side of a channel does nothing else while a
//! queue does not answer it. A publisher keeps its group until the last confirm or the deadline: as
//! many late confirms as a queue has publishers hold up what comes for that queue.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use lapin::{BasicProperties, types::ShortString};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    channels::{Channels, PooledChannel},
    connection::ManagedConnection,
    denial::Reply,
    error::BrokerError,
    frame,
    group::{Committed, Divided, Job, Publish, Suspects, commit, divide, take},
};

/// Groups for one queue that are under way at once. One, two and four cost the same CPU; with one,
/// 16 publishes at once are slower than over channels of their own.
const PUBLISHERS: usize = 2;
/// Times a group is sent again of which no message is known to be at fault.
const MAX_RESTARTS: u32 = 3;

/// Publishes messages in groups.
pub(super) struct Publishers {
    waiting: Mutex<Waiting>,
    channels: Channels,
    connection: Arc<ManagedConnection>,
    confirm_deadline: Duration,
    suspects: Suspects,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// The messages that no publisher has taken yet.
#[derive(Default)]
struct Waiting {
    /// By queue; as many as the topology has.
    lines: HashMap<String, Line>,
    /// The number of the next message.
    next: u64,
    is_closed: bool,
}

/// The messages for one queue, in the order in which they came.
struct Line {
    jobs: VecDeque<(u64, Job)>,
    /// One place for each publisher, taken and given back while the messages are locked.
    places: Arc<Semaphore>,
}

/// A message that waits for its confirm; dropped, it is withdrawn unless a publisher has taken it.
struct Ticket<'a> {
    publishers: &'a Publishers,
    queue: String,
    number: u64,
    reply: oneshot::Receiver<Result<(), BrokerError>>,
}

impl Ticket<'_> {
    /// Takes the message back; `false`: a publisher has taken it.
    fn withdraw(&self) -> bool {
        let mut waiting = self.publishers.waiting.lock();
        let Some(line) = waiting.lines.get_mut(&self.queue) else { return false };
        let found = line.jobs.binary_search_by_key(&self.number, |(number, _)| *number);
        found.is_ok_and(|index| line.jobs.remove(index).is_some())
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.reply.is_terminated() {
            self.withdraw();
        }
    }
}

impl Publishers {
    pub(super) fn new(
        connection: Arc<ManagedConnection>,
        confirm_deadline: Duration,
        (tasks, closing): (TaskTracker, CancellationToken),
    ) -> Self {
        Self {
            waiting: Mutex::default(),
            channels: Channels::new(Arc::clone(&connection)),
            connection,
            confirm_deadline,
            suspects: Suspects::default(),
            tasks,
            closing,
        }
    }

    /// Publishes one message and waits for the broker to own it: at most the deadline until a
    /// publisher takes it, and the deadline for the confirm. A `patient` caller keeps waiting while
    /// the broker takes no messages: repeated, the message would be there twice.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; the broker may have the message all the same.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the message is not published unless a publisher has taken it.
    pub(super) async fn publish(
        self: &Arc<Self>,
        publish: Publish,
        patient: bool,
    ) -> Result<(), BrokerError> {
        let deadline = self.confirm_deadline;
        let (step, bytes) = (publish.step(), publish.body.len());
        let mut ticket = self.enqueue(publish);
        let mut was_taken = false;
        loop {
            match timeout(deadline, &mut ticket.reply).await {
                Ok(answer) => {
                    let answer = answer.unwrap_or(Err(BrokerError::Closed));
                    if answer.is_ok() {
                        self.suspects.took(bytes);
                    }
                    return answer;
                }
                Err(_elapsed) if patient && self.is_blocked() => {}
                Err(_elapsed) if ticket.withdraw() => {
                    let step = format!("waiting for its turn before {step}");
                    return Err(BrokerError::TimedOut { step, deadline });
                }
                // From here on it has a deadline of its own.
                Err(_elapsed) if !was_taken => was_taken = true,
                Err(_elapsed) => return Err(BrokerError::TimedOut { step, deadline }),
            }
        }
    }

    /// Adds a message to those that wait, and starts a publisher if there is a place for one.
    fn enqueue(self: &Arc<Self>, publish: Publish) -> Ticket<'_> {
        let (answer, reply) = oneshot::channel();
        let queue = publish.queue.clone();
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next = number.wrapping_add(1);
        // After the end, the job is dropped, which answers it.
        if !waiting.is_closed {
            let line = waiting.lines.entry(queue.clone()).or_insert_with(|| Line {
                jobs: VecDeque::new(),
                places: Arc::new(Semaphore::new(PUBLISHERS)),
            });
            line.jobs.push_back((number, Job { publish, reply: answer }));
            if let Ok(place) = Arc::clone(&line.places).try_acquire_owned() {
                self.tasks.spawn(Arc::clone(self).publish_groups(queue.clone(), place));
            }
        }
        Ticket { publishers: self, queue, number, reply }
    }

    /// Publishes groups for `queue` until nothing waits.
    async fn publish_groups(self: Arc<Self>, queue: String, mut place: OwnedSemaphorePermit) {
        loop {
            let channel = match self.channel().await {
                Ok(channel) => channel,
                Err(error) => return self.fail_all(&queue, place, &error),
            };
            self.until_unblocked().await;
            let Some((kept, group)) = self.take(&queue, place) else { return };
            place = kept;
            self.commit(group, channel).await;
        }
    }

    /// A channel; if the client's fault ends the connection meanwhile, one of the next connection.
    async fn channel(&self) -> Result<PooledChannel, BrokerError> {
        match self.channels.get().await {
            Err(error) if error.reply().is_some_and(Reply::is_of_the_client) => {
                self.channels.get().await
            }
            got => got,
        }
    }

    /// Waits while the broker takes no messages: what is written then is not read, and its channel
    /// could not even be closed.
    async fn until_unblocked(&self) {
        const POLL_INTERVAL: Duration = Duration::from_millis(100);
        while self.is_blocked() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.connection.state().blocked.is_some() && !self.closing.is_cancelled()
    }

    /// Takes the next group; if nothing waits, gives up the place instead.
    fn take(
        &self,
        queue: &str,
        place: OwnedSemaphorePermit,
    ) -> Option<(OwnedSemaphorePermit, Vec<Job>)> {
        let mut waiting = self.waiting.lock();
        let group = take(&mut waiting.lines.get_mut(queue)?.jobs, &self.suspects);
        if group.is_empty() {
            // While the messages are locked: another is either seen here or finds the place free.
            drop(place);
            return None;
        }
        Some((place, group))
    }

    /// Gives up the place, and answers everything that waits for `queue`: there is no channel.
    fn fail_all(&self, queue: &str, place: OwnedSemaphorePermit, error: &BrokerError) {
        let jobs = {
            let mut waiting = self.waiting.lock();
            drop(place);
            waiting.lines.get_mut(queue).map(|line| std::mem::take(&mut line.jobs))
        };
        for (_, job) in jobs.into_iter().flatten() {
            job.answer(Err(error.clone()));
        }
    }

    /// Sends a group, in halves if the broker closes the channel for a message of it, and answers
    /// every message of it.
    async fn commit(&self, group: Vec<Job>, channel: PooledChannel) {
        let mut groups = vec![group];
        let mut channel = Some(channel);
        let mut restarts = MAX_RESTARTS;
        while let Some(mut jobs) = groups.pop() {
            jobs.retain(Job::is_awaited);
            if jobs.is_empty() {
                continue;
            }
            let got = match channel.take() {
                Some(channel) => Ok(channel),
                None => self.channel().await,
            };
            match got {
                Ok(channel) => {
                    self.until_unblocked().await;
                    groups.extend(self.commit_on(channel, jobs, &mut restarts).await);
                }
                Err(error) => {
                    let left = groups.drain(..).flatten().chain(jobs);
                    left.for_each(|job| job.answer(Err(error.clone())));
                }
            }
        }
    }

    /// Sends a group over `channel`. Returns what is to be sent again: `restarts` times at most where
    /// none of its messages is known to be at fault.
    async fn commit_on(
        &self,
        channel: PooledChannel,
        jobs: Vec<Job>,
        restarts: &mut u32,
    ) -> Vec<Vec<Job>> {
        let guard = CloseUnlessWhole(Some(channel));
        let Some(channel) = guard.0.as_deref() else { return Vec::new() };
        let limits = (self.confirm_deadline, || self.is_blocked());
        let committed = commit(jobs, channel, |publish| self.properties_of(publish), limits).await;
        let Committed { left, is_whole } = committed;
        if is_whole {
            guard.keep();
        }
        let Some((jobs, why)) = left else { return Vec::new() };
        if *restarts > 0 && why.is_of_none() {
            *restarts = restarts.saturating_sub(1);
            return vec![jobs];
        }
        let Divided { failed, again } = divide(jobs, &why);
        for job in failed {
            let error = why.error(&job.publish);
            self.suspects.note(&job.publish, &error);
            job.answer(Err(error));
        }
        again
    }

    /// The properties of a message, trimmed to a frame of the connection.
    fn properties_of(&self, publish: &Publish) -> BasicProperties {
        let given = publish.properties.as_ref().clone();
        let (properties, left_out) = frame::fit(given, self.max_frame_bytes());
        if left_out > 0 {
            let id = properties.message_id().as_ref().map(ShortString::as_str);
            warn!(event.id = id, bytes = left_out, "broker.headers_left_out: too large");
        }
        properties
    }

    /// The largest frame that the connection takes.
    pub(super) fn max_frame_bytes(&self) -> usize {
        self.connection.max_frame_bytes()
    }

    /// Answers what waits, and takes nothing more.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        waiting.lines.clear();
        drop(waiting);
        self.channels.close();
    }
}

/// Closes a channel unless everything on it was confirmed.
struct CloseUnlessWhole(Option<PooledChannel>);

impl CloseUnlessWhole {
    fn keep(mut self) {
        drop(self.0.take());
    }
}

impl Drop for CloseUnlessWhole {
    fn drop(&mut self) {
        if let Some(channel) = self.0.take() {
            channel.close();
        }
    }
}
