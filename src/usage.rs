//! CPU and memory of processes, as the kernel counts them; nothing without `/proc`.

use std::time::Duration;

use procfs::{CurrentSI, KernelStats, process::Process, ticks_per_second};

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
    fn nothing_is_known_of_a_process_that_is_not_there() {
        assert_eq!((cpu(u32::MAX), peak_kib(u32::MAX)), (None, None));
    }
}
