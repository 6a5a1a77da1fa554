//! What it is time for after a step.

use crate::base::Result;
use crate::nn::group::Group;

/// What it is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// To stop.
    pub(super) stop: bool,
    /// To save within the epoch.
    pub(super) save: bool,
    /// To read losses from a GPU.
    pub(super) read: bool,
}

impl Due {
    /// The same in all processes of a group: each may be told to stop, and the one that writes decides on the rest.
    pub(super) fn in_all(self, group: Option<&Group>) -> Result<Self> {
        let Some(group) = group else { return Ok(self) };
        let leads = group.leads();
        let votes = group.sum_counts(&[self.stop, self.save && leads, self.read && leads].map(i64::from));
        group.check()?;
        Ok(Self { stop: votes[0] > 0, save: votes[1] > 0, read: votes[2] > 0 })
    }
}
