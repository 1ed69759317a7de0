//! Proof that another process of this machine has ended.
//!
//! A process binds a socket to a name in the abstract namespace. The kernel frees the name when the
//! process ends, however that is, and not before. So one that can bind it has proved that the
//! process which had it is no more, if both are in the same network namespace of the same boot.
//!
//! Source: `unix(7)`, abstract sockets; `network_namespaces(7)`; `random(4)`, `boot_id`.

use std::{
    fs, io,
    mem::ManuallyDrop,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use uuid::Uuid;

/// The name of a process, until it ends: dropping this frees no name, for the process may go on
/// delivering.
pub(super) struct Presence {
    place: String,
    socket: ManuallyDrop<UnixDatagram>,
}

impl Presence {
    /// Takes the name of `process`.
    ///
    /// # Errors
    ///
    /// [`io::Error`]: no `/proc`, or no such sockets. Then no other process finds its end.
    pub(super) fn begin(process: Uuid) -> io::Result<Self> {
        Ok(Self { place: place()?, socket: ManuallyDrop::new(bind(process)?) })
    }

    /// Frees the name, once the store knows of the end.
    pub(super) fn end(self) {
        drop(ManuallyDrop::into_inner(self.socket));
    }

    /// Boot and network namespace, in which names are unique.
    pub(super) fn place(&self) -> &str {
        &self.place
    }
}

/// True if `process`, which was in this place, has ended. False where that is not known.
pub(super) fn has_ended(process: Uuid) -> bool {
    bind(process).is_ok()
}

fn bind(process: Uuid) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("homing.{process}"))?)
}

fn place() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/net")?;
    Ok(format!("{} {}", boot.trim(), namespace.display()))
}

#[cfg(test)]
mod tests {
    use homing_domain::clock;

    use super::*;

    #[test]
    fn a_process_that_has_not_noted_its_end_keeps_its_name() {
        let process = clock::new_id();
        drop(Presence::begin(process).unwrap());
        assert!(!has_ended(process));
    }

    #[test]
    fn a_process_has_ended_when_its_name_is_free() {
        let process = clock::new_id();
        let presence = Presence::begin(process).unwrap();
        assert_eq!(presence.place(), Presence::begin(clock::new_id()).unwrap().place());
        assert!(!has_ended(process));
        presence.end();
        assert!(has_ended(process) && has_ended(process), "looking takes no name for good");
    }
}
