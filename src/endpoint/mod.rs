//! stub
use crate::domain::{delivery::Delivery, outcome::Outcome, subscription::Subscription, time::UnixMillis};
pub struct Endpoints;
pub struct Attempted { pub outcome: Outcome }
impl Endpoints { pub async fn attempt(&self, _d: &Delivery, _s: &Subscription, _n: UnixMillis) -> Result<Attempted, std::fmt::Error> { Err(std::fmt::Error) } }
