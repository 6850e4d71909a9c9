//! How old the waiting mail of a next hop is, kept as it comes and goes: at
//! most [`CELLS_MAX`] cells, each counting the entries that arrived in one
//! stretch of time, narrow for young mail and wide for old. So the age table
//! needs no look at any entry.
//!
//! Approximate on purpose: the sum is exact; an entry counts as old as the
//! oldest of its cell, an error of less than the cell's width, which stays
//! below about half of the age.

use base::Wall;

/// Cells of one histogram.
pub(crate) const CELLS_MAX: usize = 16;
/// Arrivals within so many seconds share the youngest cell.
const CELL_SECONDS: u32 = 60;

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ages {
    /// By time, oldest first; no cell is empty.
    cells: Vec<Cell>,
}

/// Entries that arrived at `from` or later, and before the next cell's `from`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// Seconds since 1970.
    pub(crate) from: u32,
    pub(crate) count: u32,
}

impl Ages {
    pub(crate) fn add(&mut self, arrived: Wall) {
        self.add_cell(Cell { from: seconds(arrived), count: 1 });
    }

    pub(crate) fn remove(&mut self, arrived: Wall) {
        self.remove_cell(Cell { from: seconds(arrived), count: 1 });
    }

    /// Counts what `other` counts too.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.cells.iter().for_each(|cell| self.add_cell(*cell));
    }

    /// Takes out what [`Ages::merge`] brought in, as far as cells tell.
    pub(crate) fn unmerge(&mut self, other: &Self) {
        other.cells.iter().for_each(|cell| self.remove_cell(*cell));
    }

    /// Arrival of the oldest entry, or a little before.
    pub(crate) fn oldest(&self) -> Option<Wall> {
        self.cells.first().map(|cell| Wall::from_millis(u64::from(cell.from) * 1_000))
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn add_cell(&mut self, new: Cell) {
        let after = self.cells.partition_point(|cell| cell.from <= new.from);
        let youngest = after == self.cells.len();
        match after.checked_sub(1) {
            Some(at) if !youngest || new.from - self.cells[at].from < CELL_SECONDS => {
                self.cells[at].count += new.count;
            }
            _ => self.cells.insert(after, new),
        }
        if self.cells.len() > CELLS_MAX {
            self.merge_one();
        }
    }

    /// Entries leave the cell that covers their arrival. A histogram that was
    /// merged may have counted a few of them next door, so the search goes on
    /// to older cells and then to younger ones.
    fn remove_cell(&mut self, gone: Cell) {
        let mut left = gone.count;
        let mut at = self.cells.partition_point(|cell| cell.from <= gone.from);
        while left > 0 {
            at = at.saturating_sub(1);
            let cell = self.cells.get_mut(at).expect("no more entries leave than came");
            let taken = cell.count.min(left);
            cell.count -= taken;
            left -= taken;
            if cell.count == 0 {
                self.cells.remove(at);
            }
        }
    }

    /// Makes one of the two neighbours whose stretch is shortest for its age.
    fn merge_one(&mut self) {
        let end = self.cells.last().map_or(0, |cell| cell.from);
        let stretch = |at: usize| {
            let next = self.cells.get(at + 2).map_or(end, |cell| cell.from);
            u64::from(next - self.cells[at].from)
        };
        let age = |at: usize| u64::from(end - self.cells[at].from) + u64::from(CELL_SECONDS);
        let shortest = (0..self.cells.len() - 2)
            .min_by(|a, b| (stretch(*a) * age(*b)).cmp(&(stretch(*b) * age(*a))))
            .expect("there are more than two cells");
        self.cells[shortest].count += self.cells[shortest + 1].count;
        self.cells.remove(shortest + 1);
    }
}

fn seconds(at: Wall) -> u32 {
    u32::try_from(at.as_millis() / 1_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Rng;

    fn at(s: u64) -> Wall {
        Wall::from_millis(s * 1_000)
    }

    fn sum(ages: &Ages) -> u32 {
        ages.cells.iter().map(|cell| cell.count).sum()
    }

    #[test]
    fn five_days_of_mail_fit_and_the_error_stays_small() {
        let mut ages = Ages::default();
        let end = 5 * 86_400;
        (0..=end).step_by(10).for_each(|s| ages.add(at(s)));
        assert_eq!(ages.cells.len(), CELLS_MAX);
        assert_eq!(u64::from(sum(&ages)), end / 10 + 1);
        assert_eq!(ages.oldest(), Some(at(0)));
        for pair in ages.cells.windows(2) {
            let width = pair[1].from - pair[0].from;
            let age = end as u32 - pair[0].from;
            assert!(width <= 2 * CELL_SECONDS || width <= age * 6 / 10, "{width} s at {age} s");
        }
    }

    /// Mail comes in any order (after a restart) and goes in any order; the
    /// sum never lies and nothing is left in the end.
    #[test]
    fn what_came_in_goes_out() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let mut ages = Ages::default();
            let mut inside = Vec::new();
            for _ in 0..600 {
                if inside.is_empty() || rng.chance(3, 5) {
                    let reach = 1 << (1 + rng.below(19));
                    let arrived = at(rng.below(reach));
                    ages.add(arrived);
                    inside.push(arrived);
                } else {
                    let gone = inside.swap_remove(rng.below(inside.len() as u64) as usize);
                    ages.remove(gone);
                }
                assert_eq!(sum(&ages) as usize, inside.len());
                assert!(ages.cells.len() <= CELLS_MAX);
                assert!(ages.oldest() <= inside.iter().min().copied());
            }
            inside.into_iter().for_each(|arrived| ages.remove(arrived));
            assert!(ages.cells.is_empty());
        }
    }

    #[test]
    fn a_part_that_moves_away_takes_its_sum_along() {
        let (mut one, mut two, mut both) = (Ages::default(), Ages::default(), Ages::default());
        for s in 0..40_000 {
            one.add(at(s * 7));
            if s % 3 == 0 {
                two.add(at(s * 11));
            }
        }
        both.merge(&one);
        both.merge(&two);
        assert_eq!(sum(&both), sum(&one) + sum(&two));
        both.unmerge(&one);
        assert_eq!(sum(&both), sum(&two));
        both.unmerge(&two);
        assert!(both.cells.is_empty());
    }
}
