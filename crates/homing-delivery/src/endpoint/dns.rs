//! Resolves names to addresses: the hosts file, then DNS. Nothing blocks a thread, and every lookup
//! has its own deadline.
//!
//! `/etc/resolv.conf` and `/etc/hosts` are read again when they change. Other sources of a system
//! (`nsswitch.conf`: mDNS, NIS, LDAP) are not used.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::{Either, select, select_ok};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RecordType},
    system_conf::read_system_conf,
};
use parking_lot::Mutex;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

use super::{places::Places, resolve::ResolveError};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The files are checked for changes this often.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Cached answers, and their maximum age: a change has to take effect soon, whatever the zone says.
const MAX_ANSWERS: u64 = 4_096;
const MAX_TTL: Duration = Duration::from_mins(5);
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(10);

/// When one address family is known, the other one gets this much more time. Source: RFC 8305, 3.
const OTHER_FAMILY_WAIT: Duration = Duration::from_millis(50);

/// Looks names up.
pub(super) struct Dns {
    /// Used instead of the system's.
    servers: Vec<SocketAddr>,
    connect_deadline: Duration,
    places: Places,
    system: Mutex<Option<System>>,
    /// The last check that any name server answers, and its result.
    tried: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// The content of the system's files.
#[derive(Clone)]
struct System {
    hosts: Arc<Hosts>,
    /// Or the reason for having none.
    resolver: Result<TokioResolver, Arc<str>>,
    servers: Arc<[SocketAddr]>,
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

type Hosts = HashMap<String, Vec<IpAddr>>;

impl Dns {
    /// Uses `servers`, or those of the system if there are none.
    pub(super) fn new(servers: Vec<SocketAddr>, connect_deadline: Duration) -> Self {
        let (places, system) = (Places::new(), Mutex::default());
        Self { servers, connect_deadline, places, system, tried: tokio::sync::Mutex::default() }
    }

    /// The addresses of `name`, IPv4 first.
    ///
    /// # Errors
    ///
    /// [`ResolveError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, it abandons the lookup.
    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let system = self.system();
        let key = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if let Some(listed) = system.hosts.get(&key) {
            return Ok(listed.clone());
        }
        if key == "localhost" || key.ends_with(".localhost") {
            // Never looked up. Source: RFC 6761, 6.3.
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let name = Name::from_ascii(name).map_err(|_| ResolveError::Nothing)?;
        let resolver = system.resolver.map_err(|why| ResolveError::Unasked(why.to_string()))?;
        let place = self.places.enter(&key, self.connect_deadline / 8).await;
        let _place = place.ok_or(ResolveError::Busy)?;
        let answered =
            timeout(lookup_deadline(self.connect_deadline), query(&resolver, name)).await;
        let mut answered = answered.unwrap_or(Err(ResolveError::Silent));
        if matches!(answered, Err(ResolveError::Silent)) && !self.any_answers(&system.servers).await
        {
            answered = Err(ResolveError::Unasked("none answers".to_owned()));
        }
        let was_answered = matches!(answered, Ok(_) | Err(ResolveError::Nothing));
        let is_ours = answered.as_ref().is_err_and(ResolveError::is_ours);
        if !is_ours {
            self.places.note(&key, was_answered);
        }
        answered
    }

    /// The current content of the system's files.
    fn system(&self) -> System {
        let now = Instant::now();
        let mut system = self.system.lock();
        if let Some(known) = &mut *system {
            if now.duration_since(known.looked) < CHECK_INTERVAL {
                return known.clone();
            }
            known.looked = now;
            if known.changed == changed() && known.resolver.is_ok() {
                return known.clone();
            }
        }
        // Taken before reading: a change while reading causes another reading.
        let changed = changed();
        let (resolver, servers) = match self.resolver() {
            Ok((resolver, servers)) => (Ok(resolver), servers),
            Err(error) => (Err(error.to_string().into()), Vec::new()),
        };
        let read = System {
            hosts: Arc::new(hosts(&fs::read_to_string(HOSTS).unwrap_or_default())),
            resolver,
            servers: servers.into(),
            changed,
            looked: now,
        };
        system.insert(read).clone()
    }

    /// A resolver and its name servers.
    fn resolver(&self) -> Result<(TokioResolver, Vec<SocketAddr>), NetError> {
        let (config, mut options) = if self.servers.is_empty() {
            read_system_conf()?
        } else {
            let servers = self.servers.iter().map(server).collect();
            (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
        };
        let servers = config.name_servers().iter().filter_map(|server| {
            let port = server.connections.first()?.port;
            Some(SocketAddr::new(server.ip, port))
        });
        let servers = servers.collect();
        // Two tries, in case the first one was lost.
        options.timeout = lookup_deadline(self.connect_deadline) / 2;
        options.attempts = 1;
        options.cache_size = MAX_ANSWERS;
        options.positive_max_ttl = Some(MAX_TTL);
        options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
        options.use_hosts_file = ResolveHosts::Never;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider);
        Ok((builder.with_options(options).build()?, servers))
    }

    /// Checks that any name server answers at all: an unanswered name is its owner's fault, a lack
    /// of name servers is not.
    async fn any_answers(&self, servers: &[SocketAddr]) -> bool {
        let mut tried = self.tried.lock().await;
        let now = Instant::now();
        if let Some((_, answers)) = tried.filter(|(at, _)| now.duration_since(*at) < CHECK_INTERVAL)
        {
            return answers;
        }
        let queries =
            servers.iter().map(|server| Box::pin(query_root(*server))).collect::<Vec<_>>();
        let answers = !queries.is_empty()
            && timeout(self.connect_deadline / 8, select_ok(queries))
                .await
                .is_ok_and(|any| any.is_ok());
        *tried = Some((Instant::now(), answers));
        answers
    }
}

/// Queries the name servers of the root, which every resolver knows. Source: RFC 1035, 4.1.
async fn query_root(server: SocketAddr) -> io::Result<()> {
    const QUERY: [u8; 17] = [0x68, 0x6d, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let own: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(server).await?;
    socket.send(&QUERY).await?;
    socket.recv(&mut [0; QUERY.len()]).await.map(drop)
}

/// Together with the wait for a permit and the check of the name servers, this is less than the
/// connect deadline, so that the cause of a timeout is known.
fn lookup_deadline(connect_deadline: Duration) -> Duration {
    connect_deadline / 8 * 5
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn changed() -> [Option<SystemTime>; 2] {
    [HOSTS, RESOLV_CONF].map(|path| fs::metadata(Path::new(path)).and_then(|of| of.modified()).ok())
}

/// The names of a hosts file. Source: `hosts(5)`.
fn hosts(text: &str) -> Hosts {
    let mut hosts = Hosts::new();
    for line in text.lines() {
        let mut fields = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(Ok(address)) = fields.next().map(str::parse::<IpAddr>) else { continue };
        for name in fields {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let listed = hosts.entry(name).or_default();
            if !listed.contains(&address) {
                listed.push(address);
            }
        }
    }
    hosts
}

/// Queries both families at once. A name server that ignores one of them delays nothing.
async fn query(resolver: &TokioResolver, name: Name) -> Result<Vec<IpAddr>, ResolveError> {
    let v4 = pin!(resolver.lookup(name.clone(), RecordType::A));
    let v6 = pin!(resolver.lookup(name, RecordType::AAAA));
    let (v4, v6) = match select(v4, v6).await {
        Either::Left((Ok(v4), v6)) => (Some(Ok(v4)), timeout(OTHER_FAMILY_WAIT, v6).await.ok()),
        Either::Left((Err(error), v6)) => (Some(Err(error)), Some(v6.await)),
        Either::Right((Ok(v6), v4)) => (timeout(OTHER_FAMILY_WAIT, v4).await.ok(), Some(Ok(v6))),
        Either::Right((Err(error), v4)) => (Some(v4.await), Some(Err(error))),
    };
    let mut found = Vec::new();
    let mut error = None;
    for looked_up in [v4, v6].into_iter().flatten() {
        match looked_up {
            Ok(lookup) => found.extend(addresses(&lookup)),
            Err(why) => error = error.or(Some(why)),
        }
    }
    match error {
        Some(error) if found.is_empty() => Err(failure(&error)),
        Some(_) | None if !found.is_empty() => Ok(found),
        Some(_) | None => Err(ResolveError::Nothing),
    }
}

fn addresses(lookup: &Lookup) -> impl Iterator<Item = IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr())
}

fn failure(error: &NetError) -> ResolveError {
    if error.is_no_records_found() {
        return ResolveError::Nothing;
    }
    if matches!(error, NetError::Timeout) {
        return ResolveError::Silent;
    }
    if let NetError::Dns(DnsError::ResponseCode(code)) = error {
        return ResolveError::Failed(code.to_string().to_lowercase());
    }
    if matches!(error, NetError::Io(_) | NetError::NoConnections | NetError::Busy) {
        return ResolveError::Unasked(error.to_string());
    }
    ResolveError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_is_read_as_the_system_reads_it() {
        let hosts = hosts(
            "127.0.0.1\tlocalhost\n# 10.0.0.1 commented\n\n10.0.0.2 A.Example a # more\n\
             fd00::2 a.example.\nnonsense b\n10.0.0.2 a.example\n10.0.0.3",
        );
        let of = |name: &str| hosts.get(name).map(|of| of.iter().map(IpAddr::to_string).collect());
        let expected: Vec<_> = vec!["10.0.0.2".to_owned(), "fd00::2".to_owned()];
        assert_eq!(of("a.example"), Some(expected));
        assert_eq!(of("a"), Some(vec!["10.0.0.2".to_owned()]));
        assert_eq!((of("b"), of("commented")), (None, None));
    }
}
