//! The load that decides how many workers are needed.

use super::{Kind, Overview};
use homing_domain::scaling::{Load, WorkerPlan};

impl Overview {
    /// Sets the number of workers that the load needs by `plan`.
    #[must_use]
    pub fn with_plan(self, plan: &WorkerPlan) -> Self {
        let workers_wanted = self.load().map(|load| plan.workers_wanted(&load));
        Self { workers_wanted, ..self }
    }

    /// `None`: broker or store do not answer, or a queue is missing.
    fn load(&self) -> Option<Load> {
        if !self.is_sound() {
            return None;
        }
        let due = self.queues.iter().filter(|it| matches!(it.kind, Kind::Primary | Kind::Retry));
        let backlog = due
            .map(|queue| queue.messages)
            .try_fold(0_u32, |sum, messages| Some(sum.saturating_add(messages?)))?;
        let alive = || self.workers.iter().filter(|worker| worker.alive);
        let in_flight = alive().map(|worker| worker.report.in_flight);
        Some(Load {
            workers: u32::try_from(alive().count()).unwrap_or(u32::MAX),
            in_flight: in_flight.fold(0, u32::saturating_add),
            rate: self.rates.events.max(self.rates.accepted + self.rates.failed),
            backlog,
        })
    }
}
