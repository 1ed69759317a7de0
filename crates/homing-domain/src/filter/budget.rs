//! The cost limit of matching.
//!
//! Counted in steps instead of time, so that the same filter and the same event always have the
//! same result: a step takes about ten nanoseconds on a machine of 2020.

/// The steps that matching may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    left: u64,
}

/// No steps are left, so the result is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its filters would cost more on this event than an event may cost")]
pub struct OverBudget;

/// Bytes compared or copied in one step.
const BYTES_OF_A_STEP: usize = 4;

impl Budget {
    /// A budget of so many steps.
    #[must_use]
    pub fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Steps that are left.
    #[must_use]
    pub fn left(self) -> u64 {
        self.left
    }

    /// Takes `steps`, or none if fewer are left: work that is not done costs nothing.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), OverBudget> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(steps).ok_or(OverBudget)?;
        Ok(())
    }

    /// Takes the cost of reading so many bytes.
    pub(super) fn read(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.spend((bytes / BYTES_OF_A_STEP).saturating_add(1))
    }
}
