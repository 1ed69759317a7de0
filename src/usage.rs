//! CPU and memory of processes, as the kernel counts them; nothing without `/proc`.
//!
//! Source: proc(5).

use std::{fs, path::Path, time::Duration};

/// CPU time that a process has used, user and system, its threads included.
///
/// Source: `/proc/pid/stat`, fields 14 and 15, in hundredths of a second.
#[must_use]
pub fn cpu(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold blanks.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.collect::<Result<Vec<_>, _>>().ok()?;
    Some(Duration::from_millis(ticks.into_iter().sum::<u64>().saturating_mul(10)))
}

/// The time that all processors together were busy, and the time that they could have been, since
/// the machine was started; in hundredths of a second.
///
/// Source: `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
#[must_use]
pub fn busy() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let fields = fields.map(str::parse::<u64>).collect::<Result<Vec<_>, _>>().ok()?;
    let total: u64 = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    Some((total - idle, total))
}

/// The most memory that a process ever had resident, in KiB.
///
/// Source: `/proc/pid/status`, `VmHWM`.
#[must_use]
pub fn peak_kib(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The process on this machine that listens on the TCP port `port` and whose name is `name`, if
/// this process may read its files.
///
/// Source: `/proc/net/tcp`: the fields `local_address`, `st` (0A: listening) and `inode`.
#[must_use]
pub fn listener(port: u16, name: &str) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let sockets: Vec<_> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines())
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (_, local_port) = fields.next()?.rsplit_once(':')?;
            let listens = fields.nth(1)? == "0A" && u16::from_str_radix(local_port, 16) == Ok(port);
            listens.then(|| fields.nth(5).map(|inode| format!("socket:[{inode}]"))).flatten()
        })
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut found = processes.filter_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let named = fs::read_to_string(entry.path().join("comm")).ok()?;
        (named.trim() == name && holds(&entry.path(), &sockets)).then_some(process)
    });
    found.next()
}

fn holds(process: &Path, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target == Path::new(socket)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

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
