//! Figures of the kernel: the machine, the time, and what processes use of both.

use std::fs;

use homing::usage;
use homing_domain::clock;
use serde::Serialize;

/// Microseconds since 1970, the same in all processes.
pub(crate) fn micros() -> u64 {
    u64::try_from(clock::micros()).unwrap_or_default()
}

/// The machine, and how busy it was with other things when the run began.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// Runnable tasks, averaged over the last minute.
    pub(crate) load_before: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            let value = line.as_deref().and_then(|line| line.split_once(':'));
            value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 =
            memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib.div_ceil(1_024 * 1_024),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// CPU seconds of a process, its threads included.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    usage::cpu(process).unwrap_or_default().as_secs_f64()
}

/// Peak resident memory of a process, in MiB.
pub(crate) fn peak_mib(process: u32) -> f64 {
    f64::from(usage::peak_kib(process).unwrap_or_default()) / 1_024.0
}
