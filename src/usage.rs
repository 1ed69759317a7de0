//! CPU and memory of processes, as the kernel counts them; nothing without `/proc`.

use std::time::Duration;

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

/// The most memory that a process ever had resident, in KiB.
#[must_use]
pub fn peak_kib(process: u32) -> Option<u32> {
    known(process)?.status().ok()?.vmhwm?.try_into().ok()
}

/// The process on this machine that listens on the TCP port `port` and whose name is `name`, if
/// this process may read its files.
#[must_use]
pub fn listener(port: u16, name: &str) -> Option<u32> {
    let sockets = [tcp(), tcp6()].into_iter().flatten().flatten();
    let listening = sockets
        .filter(|socket| socket.state == TcpState::Listen && socket.local_address.port() == port);
    let sockets: Vec<_> = listening.map(|socket| socket.inode).collect();
    let holds = |process: &Process| {
        let mut files = process.fd().into_iter().flatten().flatten();
        files.any(|file| matches!(file.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
    };
    let named = |process: &Process| process.stat().is_ok_and(|stat| stat.comm == name);
    let mut processes = all_processes().ok()?.flatten();
    let found = processes.find(|process| named(process) && holds(process))?;
    found.pid().try_into().ok()
}

fn known(process: u32) -> Option<Process> {
    Process::new(process.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpListener};

    use super::*;

    #[test]
    fn this_process_uses_something_and_is_found_by_its_port() {
        let own = std::process::id();
        assert!(cpu(own).is_some());
        assert!(peak_kib(own).unwrap() > 100);
        let (busy, total) = busy().unwrap();
        assert!(0 < busy && busy <= total);
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listening.local_addr().unwrap().port();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(listener(port, name.trim()), Some(own));
        assert_eq!(listener(port, "another-program"), None);
    }

    #[test]
    fn nothing_is_known_of_a_process_that_is_not_there() {
        assert_eq!((cpu(u32::MAX), peak_kib(u32::MAX)), (None, None));
    }
}
