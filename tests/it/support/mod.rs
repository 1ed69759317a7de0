//! What the tests stand on: a broker, endpoints that record what they are sent, and homing itself
//! as a part of the test or as a process of its own.

pub(crate) mod broker;
pub(crate) mod installation;
pub(crate) mod process;
pub(crate) mod receiver;

use std::time::Duration;

/// How long a test waits for what must happen. Generous: the machine may be busy; nothing waits
/// this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
