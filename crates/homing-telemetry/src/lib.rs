//! Log events and metrics of homing, all of them listed here.
//!
//! Names are dotted, entity first; units are in the name. `error` means that an operator must act;
//! an endpoint that fails is `info`. Never reported: payloads, secrets, tokens, queries of URLs.

pub mod catalogue;
pub mod deferred;
pub mod log_events;
pub mod line_limit;
pub mod metrics;
pub mod sources;

/// The name of this machine.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "this machine".to_owned() } else { name.to_owned() }
}
