//! The capacity for connections: who is admitted, whose turn it is on each, and which one gives way.
//!
//! On every connection it is either homing's turn (a request is worked on) or the client's: to send
//! the head of a request, the rest of a body, or to take an answer. Where there is no more room, the
//! connection that has waited longest for its client gives way to a new one, so that idle clients
//! do not keep others out. Connections on which a request is worked on never give way. Beyond them
//! there is a reserve, from which only health and metrics are answered.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections at one time.
pub(super) const MAX_CONNECTIONS: usize = 512;
/// Connections beside them, from which only health and metrics are answered.
const MAX_RESERVE: usize = 32;
/// Requests at one time on all connections; the head of each takes up to 16 KiB.
const MAX_EXCHANGES: usize = 2_048;
/// Bytes of answers that clients have not taken yet.
const MAX_UNSENT_BYTES: usize = 64 * 1_024 * 1_024;
/// From the accept to the end of the first head, whatever the protocol.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// The same for a connection of the reserve.
const RESERVE_HEAD_DEADLINE: Duration = Duration::from_secs(2);
/// Between two requests, the head of the second included.
const IDLE_DEADLINE: Duration = Duration::from_mins(1);
/// For a body to arrive; those who read it have shorter deadlines.
const BODY_DEADLINE: Duration = Duration::from_mins(1);
/// For a client to begin to take an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Then it has to take so many bytes each second.
const ANSWER_BYTES_PER_SECOND: usize = 16 * 1_024;

/// The connections of one listener, and how many there may be.
pub(super) struct Capacity {
    /// Connections of one network at one time.
    max_per_network: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    connections: HashMap<u64, Connection>,
    exchanges: usize,
    unsent: usize,
}

struct Connection {
    network: IpAddr,
    is_reserve: bool,
    /// True once a request came on it.
    has_asked: bool,
    /// The instant since which it is the client's turn, if it is.
    since: Instant,
    exchanges: HashMap<u64, Exchanging>,
    ends: CancellationToken,
    cut: CancellationToken,
}

struct Exchanging {
    turn: Turn,
    /// Bytes of the answer that the client has not taken yet.
    unsent: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The client has to send the rest of the body.
    Sends { until: Instant },
    /// homing has to answer, or to continue its answer.
    Homing,
    /// The client has to receive the answer.
    Takes { until: Instant },
}

/// The admission of one connection, until it is dropped.
pub(super) struct Admission {
    capacity: Arc<Capacity>,
    id: u64,
    /// True if only health and metrics are answered.
    pub(super) is_reserve: bool,
    /// Cancelled when the connection shall end after the requests that are under way.
    pub(super) ends: CancellationToken,
    /// Cancelled when it shall end at once.
    pub(super) cut: CancellationToken,
}

/// A request and its answer, until it is dropped.
pub(super) struct Exchange {
    capacity: Arc<Capacity>,
    connection: u64,
    id: u64,
    /// True beyond the limit of requests, where only health and metrics are answered.
    pub(super) is_beyond: bool,
}

/// The network of an address: the owner of an IPv6 address has 64 bits of them.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Capacity {
    /// Capacity of which one IPv4 address, or one IPv6 network of 64 bits, has at most
    /// `max_per_network`.
    pub(super) fn new(max_per_network: usize) -> Arc<Self> {
        Arc::new(Self { max_per_network, table: Mutex::default() })
    }

    /// The admission of a connection from `peer`; `None`: even the reserve is in use.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Admission> {
        let network = network(peer);
        let mut table = self.table.lock();
        let of_network = table.count(|one| !one.is_reserve && one.network == network);
        let of_all = table.count(|one| !one.is_reserve);
        let has_room = if of_network >= self.max_per_network {
            table.make_way(|_, one| !one.is_reserve && one.network == network)
        } else {
            of_all < MAX_CONNECTIONS || table.make_way(|_, one| !one.is_reserve)
        };
        let is_reserve = !has_room;
        if is_reserve && table.count(|one| one.is_reserve) >= MAX_RESERVE {
            table.make_way(|_, one| one.is_reserve).then_some(())?;
        }
        let (ends, cut) = (CancellationToken::new(), CancellationToken::new());
        let id = table.take_id();
        let connection = Connection {
            network,
            is_reserve,
            has_asked: false,
            since: Instant::now(),
            exchanges: HashMap::new(),
            ends: ends.clone(),
            cut: cut.clone(),
        };
        table.connections.insert(id, connection);
        drop(table);
        Some(Admission { capacity: Arc::clone(self), id, is_reserve, ends, cut })
    }

    /// Cuts the connection that has waited longest for its client.
    pub(super) fn make_way(&self) {
        self.table.lock().make_way(|_, _| true);
    }

    /// Ends the connections whose clients have exceeded their time.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut table = self.table.lock();
        for connection in table.connections.values().filter(|one| one.is_idle_for_too_long(now)) {
            connection.ends.cancel();
        }
        let late = |(id, one): (&u64, &Connection)| one.is_late(now).then_some(*id);
        let late: Vec<_> = table.connections.iter().filter_map(late).collect();
        for id in late {
            table.cut(id);
        }
    }
}

impl Table {
    fn take_id(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    fn count(&self, which: impl Fn(&Connection) -> bool) -> usize {
        self.connections.values().filter(|one| which(one)).count()
    }

    /// Cuts the one of `which` that has waited longest for its client; false: there was none.
    fn make_way(&mut self, which: impl Fn(u64, &Connection) -> bool) -> bool {
        let waiting = self.connections.iter().filter(|(id, one)| which(**id, one));
        let waiting = waiting.filter_map(|(id, one)| Some((one.waits_since()?, *id)));
        let longest = waiting.min();
        longest.inspect(|(_, id)| self.cut(*id)).is_some()
    }

    fn cut(&mut self, id: u64) {
        if let Some(connection) = self.forget(id) {
            connection.cut.cancel();
        }
    }

    fn forget(&mut self, id: u64) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.exchanges = self.exchanges.saturating_sub(connection.exchanges.len());
        self.unsent = self.unsent.saturating_sub(connection.unsent());
        Some(connection)
    }

    fn exchanging(&mut self, connection: u64, id: u64) -> Option<&mut Exchanging> {
        self.connections.get_mut(&connection)?.exchanges.get_mut(&id)
    }
}

impl Connection {
    /// `None`: on one of its requests it is homing's turn.
    fn waits_since(&self) -> Option<Instant> {
        let is_homings = self.exchanges.values().any(|one| one.turn == Turn::Homing);
        (!is_homings).then_some(self.since)
    }

    fn is_idle_for_too_long(&self, now: Instant) -> bool {
        self.has_asked && self.exchanges.is_empty() && now >= self.since + IDLE_DEADLINE
    }

    fn is_late(&self, now: Instant) -> bool {
        let patience = if self.is_reserve { RESERVE_HEAD_DEADLINE } else { HEAD_DEADLINE };
        let is_late = |exchanging: &Exchanging| match exchanging.turn {
            Turn::Sends { until } | Turn::Takes { until } => now >= until,
            Turn::Homing => false,
        };
        (!self.has_asked && now >= self.since + patience) || self.exchanges.values().any(is_late)
    }

    fn unsent(&self) -> usize {
        self.exchanges.values().map(|one| one.unsent).sum()
    }

    /// From now on it is the client's turn, unless homing still works on another request.
    fn wait_from_now(&mut self) {
        if self.waits_since().is_some() {
            self.since = Instant::now();
        }
    }
}

impl Admission {
    /// A request has come, whose body has yet to arrive if there `is_more`.
    pub(super) fn begin(&self, is_more: bool) -> Exchange {
        let mut table = self.capacity.table.lock();
        if table.exchanges >= MAX_EXCHANGES {
            table.make_way(|id, one| id != self.id && one.exchanges.len() > 1);
        }
        let is_beyond = table.exchanges >= MAX_EXCHANGES;
        let id = table.take_id();
        if let Some(connection) = table.connections.get_mut(&self.id) {
            let until = Instant::now() + BODY_DEADLINE;
            let turn = if is_more { Turn::Sends { until } } else { Turn::Homing };
            connection.exchanges.insert(id, Exchanging { turn, unsent: 0 });
            connection.has_asked = true;
            connection.wait_from_now();
            table.exchanges = table.exchanges.saturating_add(1);
        }
        drop(table);
        if self.is_reserve {
            self.ends.cancel();
        }
        Exchange { capacity: Arc::clone(&self.capacity), connection: self.id, id, is_beyond }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.capacity.table.lock().forget(self.id);
    }
}

impl Exchange {
    /// The body is complete, or no longer needed.
    pub(super) fn body_ended(&self) {
        let mut table = self.capacity.table.lock();
        let exchanging = table.exchanging(self.connection, self.id);
        if let Some(one) = exchanging.filter(|one| matches!(one.turn, Turn::Sends { .. })) {
            one.turn = Turn::Homing;
        }
    }

    /// homing has sent so many bytes, or only a head; it is the client's turn.
    pub(super) fn says(&self, bytes: usize) {
        let mut table = self.capacity.table.lock();
        let Some(one) = table.exchanging(self.connection, self.id) else { return };
        let begun = match one.turn {
            Turn::Takes { until } => until,
            Turn::Sends { .. } | Turn::Homing => Instant::now() + ANSWER_DEADLINE,
        };
        let was_homings = !matches!(one.turn, Turn::Takes { .. });
        let seconds = u32::try_from(bytes / ANSWER_BYTES_PER_SECOND).unwrap_or(u32::MAX);
        one.turn = Turn::Takes { until: begun + Duration::from_secs(seconds.into()) };
        let taken = one.unsent.min(bytes);
        one.unsent = one.unsent.saturating_sub(taken);
        table.unsent = table.unsent.saturating_sub(taken);
        if was_homings && let Some(connection) = table.connections.get_mut(&self.connection) {
            connection.wait_from_now();
        }
    }

    /// homing still works on the rest of the answer.
    pub(super) fn thinks(&self) {
        if let Some(one) = self.capacity.table.lock().exchanging(self.connection, self.id) {
            one.turn = Turn::Homing;
        }
    }

    /// An answer of so many bytes is in memory. Where there are too many, the clients that have
    /// waited longest with theirs are cut.
    pub(super) fn holds(&self, bytes: usize) {
        let mut table = self.capacity.table.lock();
        let Some(one) = table.exchanging(self.connection, self.id) else { return };
        one.unsent = bytes;
        table.unsent = table.unsent.saturating_add(bytes);
        while table.unsent > MAX_UNSENT_BYTES
            && table.make_way(|id, one| id != self.connection && one.unsent() > 0)
        {}
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut table = self.capacity.table.lock();
        let Some(connection) = table.connections.get_mut(&self.connection) else { return };
        let Some(ended) = connection.exchanges.remove(&self.id) else { return };
        connection.wait_from_now();
        table.exchanges = table.exchanges.saturating_sub(1);
        table.unsent = table.unsent.saturating_sub(ended.unsent);
    }
}
