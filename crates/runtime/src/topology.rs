//! How many shards, and on which cores. Decides nothing about mail.

use glommio::Placement;

use crate::error::StartError;

/// The cores this process may run on, as the scheduler has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    cores: Vec<usize>,
}

impl Topology {
    /// Reads the process's affinity mask; one core where it cannot be read.
    pub fn of_this_process() -> Self {
        let cores = match rustix::thread::sched_getaffinity(None) {
            Ok(set) => {
                (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
            }
            Err(_) => Vec::new(),
        };
        Self::of(cores)
    }

    fn of(mut cores: Vec<usize>) -> Self {
        if cores.is_empty() {
            cores.push(0);
        }
        Self { cores }
    }

    /// Cores that may be used; at least 1.
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Where each of `shards` executors goes: pinned to a core of its own
    /// where there are enough, else left to the scheduler, since two pinned
    /// executors on one core would wait for each other.
    ///
    /// # Errors
    /// [`StartError::MisuseShards`] for no shard or more than
    /// [`base::limits::SHARDS_MAX`].
    pub fn place(&self, shards: usize) -> Result<Vec<Placement>, StartError> {
        if shards == 0 || shards > base::limits::SHARDS_MAX {
            return Err(StartError::MisuseShards(shards));
        }
        // A lone shard gains nothing from a pin and would fight its own
        // helper threads for the core.
        let pin = shards > 1 && shards <= self.cores.len();
        Ok((0..shards)
            .map(|n| if pin { Placement::Fixed(self.cores[n]) } else { Placement::Unbound })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(placements: &[Placement]) -> usize {
        placements.iter().filter(|p| matches!(p, Placement::Fixed(_))).count()
    }

    #[test]
    fn shards_are_pinned_only_where_each_has_a_core() {
        let four = Topology::of(vec![1, 3, 5, 7]);
        assert_eq!(four.cores(), 4);
        assert_eq!(pinned(&four.place(4).unwrap()), 4);
        assert_eq!(pinned(&four.place(5).unwrap()), 0);
        assert_eq!(pinned(&four.place(1).unwrap()), 0);
        assert!(matches!(four.place(3).unwrap()[1], Placement::Fixed(3)));
    }

    #[test]
    fn the_number_of_shards_has_bounds() {
        let one = Topology::of(Vec::new());
        assert_eq!(one.cores(), 1);
        assert!(matches!(one.place(0), Err(StartError::MisuseShards(0))));
        assert_eq!(one.place(base::limits::SHARDS_MAX).unwrap().len(), base::limits::SHARDS_MAX);
        assert!(one.place(base::limits::SHARDS_MAX + 1).is_err());
    }

    #[test]
    fn this_process_has_a_core() {
        assert!(Topology::of_this_process().cores() >= 1);
    }
}
