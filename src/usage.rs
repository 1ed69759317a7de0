//! CPU and memory of processes, as the kernel counts them, and which of them listens; nothing
//! without `/proc`.

use std::{
    collections::HashSet,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use procfs::{
    CurrentSI, KernelStats,
    net::{TcpState, tcp, tcp6},
    process::{FDTarget, Process, all_processes},
    ticks_per_second,
};

/// CPU time that a process has used, user and system, its threads included.
#[must_use]
pub fn cpu(process: u32) -> Option<Duration> {
    let stat = known(process)?.stat().ok()?;
    let ticks = stat.utime.saturating_add(stat.stime);
    Some(Duration::from_millis(ticks.saturating_mul(1_000) / ticks_per_second()))
}

/// The time that all processors together were busy, and the time that they could have been, since
/// the machine was started; in the kernel's ticks.
#[must_use]
pub fn busy() -> Option<(u64, u64)> {
    let time = KernelStats::current().ok()?.total;
    let busy = [time.irq, time.softirq, time.steal].into_iter().flatten();
    let busy = time.user + time.nice + time.system + busy.sum::<u64>();
    Some((busy, busy + time.idle + time.iowait.unwrap_or_default()))
}

/// The part of the processors' time since `before` in which they were busy, in per cent.
#[must_use]
pub fn busy_percent(before: (u64, u64)) -> Option<u32> {
    let (busy, total) = self::busy()?;
    let (busy, total) = (busy.saturating_sub(before.0), total.saturating_sub(before.1));
    busy.saturating_mul(100).checked_div(total)?.try_into().ok()
}

/// The most memory that a process ever had resident, in KiB.
#[must_use]
pub fn peak_kib(process: u32) -> Option<u32> {
    known(process)?.status().ok()?.vmhwm?.try_into().ok()
}

/// The process called `name` that accepts TCP connections at `port`; `None`: there is none, or this
/// user may not see what it has open. Reads what all processes have open.
#[must_use]
pub fn listener(port: u16, name: &str) -> Option<u32> {
    let sockets = [tcp(), tcp6()].into_iter().flatten().flatten();
    let listening = sockets
        .filter(|socket| socket.state == TcpState::Listen && socket.local_address.port() == port);
    let listening: HashSet<_> = listening.map(|socket| socket.inode).collect();
    let listens = |process: &Process| {
        let mut open = process.fd().into_iter().flatten().flatten();
        open.any(
            |open| matches!(open.target, FDTarget::Socket(inode) if listening.contains(&inode)),
        )
    };
    let is_named = |process: &Process| process.stat().is_ok_and(|stat| stat.comm == name);
    let mut processes = all_processes().ok()?.flatten();
    let found = processes.find(|process| is_named(process) && listens(process))?;
    found.pid.try_into().ok()
}

/// True if `address` is one of this machine's: the kernel would send to it from itself. Nothing is
/// sent.
#[must_use]
pub fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0; 16].into(),
    };
    let sender = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    sender.is_ok_and(|sender| sender.ip() == address)
}

fn known(process: u32) -> Option<Process> {
    Process::new(process.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let own = std::process::id();
        assert!(cpu(own).is_some());
        assert!(peak_kib(own).unwrap() > 100);
        let (busy, total) = busy().unwrap();
        assert!(0 < busy && busy <= total);
        assert!(busy_percent((0, 0)).unwrap() <= 100);
    }

    #[test]
    fn a_process_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = Process::myself().unwrap().stat().unwrap();
        assert_eq!(super::listener(port, &own.comm), Some(std::process::id()));
        assert_eq!(super::listener(port, "beam.smp"), None, "another name");
        drop(listener);
        assert_eq!(super::listener(port, &own.comm), None);
    }

    #[test]
    fn this_machine_knows_its_addresses() {
        assert!(is_own([127, 0, 0, 1].into()));
        // Source: RFC 5737, for documentation: no machine has it.
        assert!(!is_own([192, 0, 2, 1].into()));
    }

    #[test]
    fn nothing_is_known_of_a_process_that_is_not_there() {
        assert_eq!((cpu(u32::MAX), peak_kib(u32::MAX)), (None, None));
    }
}
