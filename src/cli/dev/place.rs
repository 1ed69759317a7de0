//! The place of `homing dev`: a store in a folder, and names at the broker that no other
//! installation has, so that nothing of one that runs there is touched.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{cli::failure::Failure, config::Settings};
use homing_broker::{
    Broker,
    claim::Claim,
    topology::{ShardPart, Topology},
};

/// The suffix of the installation's prefix. Long, so that no other installation has it: everything
/// below it is deleted.
const SUFFIX: &str = "homing-dev";
/// Queues are created at each first start, which takes longer the more there are.
const HELD_QUEUES: u16 = 4;

/// A store and queues for one run, or for all runs with one folder.
pub(super) struct Place {
    /// The settings of the process.
    pub(super) settings: Settings,
    claim: Claim,
    broker: Broker,
    /// Deleted at the end, with all queues; `None`: both are kept.
    temporary: Option<TempDir>,
}

impl Place {
    /// Claims the names at the broker, and deletes what a killed run without a folder left there.
    ///
    /// # Errors
    ///
    /// No broker, no permission, another run, or no room for files.
    pub(super) async fn claim(settings: Settings, folder: Option<&Path>) -> Result<Self, Failure> {
        let (folder, temporary) = if let Some(folder) = folder {
            (kept(folder)?, None)
        } else {
            let made = tempfile::Builder::new().prefix("homing-dev-").tempdir();
            let made = made.map_err(|source| cannot_write(&std::env::temp_dir(), source))?;
            (made.path().to_owned(), Some(made))
        };
        let suffix = match &temporary {
            Some(_) => SUFFIX.to_owned(),
            None => format!("{SUFFIX}-{}", name_of(&folder)),
        };
        let settings = adapted(settings, &suffix, &folder.join("homing.db"));
        let schedules = settings.schedule.schedules().map_err(Failure::Settings)?;
        let topology = Topology::new(&settings.broker.prefix, schedules.waits())
            .with_held_queues(settings.held.queues);
        let broker = Broker::passive(&settings.broker, topology).map_err(Failure::Settings)?;
        let claimed = broker.claim().await.map_err(|error| {
            if error.is_away() {
                let advice = "homing needs RabbitMQ: run this in the repository, which starts one, \
                              or give --broker URL";
                return Failure::NotFound(format!("{}; {advice}", error.report()));
            }
            Failure::Broker(error)
        })?;
        let claim = claimed.ok_or_else(|| {
            Failure::Taken(format!(
                "another `homing dev` runs at this broker ({}); stop it, or give each a --folder of \
                 its own",
                settings.broker.prefix
            ))
        })?;
        if temporary.is_some() {
            claim.clear().await.map_err(Failure::Broker)?;
        }
        Ok(Self { settings, claim, broker, temporary })
    }

    /// Deletes everything, or leaves all of it where a folder was given.
    pub(super) async fn end(self) -> Result<(), Failure> {
        let cleared = match &self.temporary {
            Some(_) => self.claim.clear().await,
            None => Ok(()),
        };
        let released = self.claim.release().await;
        self.broker.close().await;
        cleared.and(released).map_err(|error| {
            Failure::NotFound(format!(
                "its queues are not all deleted; the next `homing dev` does that: {}",
                error.report()
            ))
        })
    }
}

fn cannot_write(folder: &Path, source: io::Error) -> Failure {
    Failure::Write { what: format!("a folder in {}", folder.display()), source }
}

/// The folder, which is made where it does not exist.
fn kept(folder: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(folder)
        .and_then(|()| folder.canonicalize())
        .map_err(|source| cannot_write(folder, source))
}

/// A name for the queues of this folder, always the same.
fn name_of(folder: &Path) -> String {
    let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    format!("{:08x}", u32::from_be_bytes(bytes))
}

/// The settings of an installation of its own, with the schedules and the tuning of this one.
fn adapted(mut settings: Settings, suffix: &str, store: &Path) -> Settings {
    settings.broker.prefix = format!("{}.{suffix}", settings.broker.prefix);
    settings.broker.shards = 1;
    settings.worker.shards = ShardPart::ALL;
    // A crash of the broker may take it all.
    settings.broker.new_queue_wait = Duration::ZERO;
    settings.archive.enabled = false;
    settings.held.queues = HELD_QUEUES;
    settings.source.livestream.clear();
    // The listener is on this machine, without TLS, and at any port.
    let here = ["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    settings.endpoint.no_proxy.extend(here.clone());
    settings.endpoint.allow_networks.extend(here);
    settings.endpoint.https_only = false;
    settings.endpoint.allow_ports.clear();
    settings.endpoint.refuse_ports.clear();
    settings.traces.collector = String::new();
    settings.store.url = format!("sqlite:{}", store.display());
    settings.store.encryption_keys = Vec::new();
    settings.store.encryption_key_file = String::new();
    settings.api.tokens = Vec::new();
    settings
}

/// An address of this machine that is free: the wanted one, or one with another port.
pub(super) async fn free_address(wanted: SocketAddr) -> Result<SocketAddr, Failure> {
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted.port()));
    let wanted = if wanted.ip().is_loopback() { wanted } else { own };
    let failed = |source| Failure::Listen { address: wanted, source };
    let listener = match TcpListener::bind(wanted).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
        }
        bound => bound,
    };
    listener.and_then(|listener| listener.local_addr()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use homing_delivery::endpoint::Policy;

    use super::*;

    /// Goal: nothing of an installation is used but its broker and its tuning.
    #[test]
    fn nothing_leads_to_data_of_the_installation() {
        let text = "[broker]\nprefix = \"shop\"\nshards = 2\n[store]\nurl = \"postgres://db/homing\"\n\
                    [api]\ntokens = [\"0123456789abcdef\"]\nlisten = \"0.0.0.0:80\"\n\
                    [traces]\ncollector = \"http://127.0.0.1:4318\"\n[worker]\nmax_in_flight = 64\n";
        let before = Settings::from_toml(text).unwrap();
        assert!(!before.endpoint.allow_networks.contains(&"127.0.0.0/8".to_owned()));
        let settings = adapted(before, "homing-dev", Path::new("/tmp/x/homing.db"));
        assert_eq!(settings.broker.prefix, "shop.homing-dev");
        assert_eq!(settings.store.url, "sqlite:/tmp/x/homing.db");
        assert_eq!((settings.traces.collector.as_str(), settings.api.tokens.len()), ("", 0));
        assert!(settings.endpoint.allow_networks.contains(&"127.0.0.0/8".to_owned()));
        assert_eq!((settings.worker.max_in_flight, settings.broker.shards), (64, 1));
    }

    /// Goal: rules for endpoints of the installation keep its events from no listener.
    #[test]
    fn the_listener_is_called_whatever_endpoints_may_be() {
        let text = "[broker]\nshards = 2\n[worker]\nshards = \"1/2\"\n[endpoint]\nhttps_only = true\n\
                    allow_ports = [\"443\"]\nproxy = \"http://proxy.example.com:3128\"\n";
        let settings = Settings::from_toml(text).unwrap();
        let settings = adapted(settings, "homing-dev", Path::new("/tmp/x/homing.db"));
        let policy = Policy::new(&settings.endpoint).unwrap();
        assert_eq!(policy.check(&"http://127.0.0.1:41234/".parse().unwrap()), Ok(()));
        assert!(settings.endpoint.no_proxy.contains(&"127.0.0.0/8".to_owned()));
        assert!(settings.worker.check_shards(settings.broker.shards).is_ok());
    }

    #[test]
    fn each_folder_has_queues_of_its_own() {
        let (one, other) = (name_of(Path::new("/a")), name_of(Path::new("/b")));
        assert_eq!((one.len(), one == other, one == name_of(Path::new("/a"))), (8, false, true));
    }

    #[tokio::test]
    async fn an_address_that_is_taken_gets_another_port() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let free = free_address(address).await.unwrap();
        assert!(free.ip().is_loopback() && free.port() != address.port());
        let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
        assert!(free_address(open).await.unwrap().ip().is_loopback());
    }
}
