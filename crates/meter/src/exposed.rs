//! Names that stand singly in metrics, and all others as one. What is read
//! again and again must never go back: a name's count begins when it is chosen,
//! what it counted before stays with the others, and what it counted goes to
//! them when it is dropped.
//!
//! Invariant: names and others together count everything absorbed. Names are
//! chosen by what came of late, and a newcomer takes the place of another only
//! with a quarter more, so that neighbours in rank do not take turns.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::tally::{Table, Tally};

/// Chosen names with their counts, and the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    names: BTreeMap<Arc<str>, Tally>,
    others: Tally,
}

impl Exposed {
    /// Adds what was counted since; chooses at most `names_max` of the names
    /// that are busiest in `book`, of which it is a part already, at `hour` hours
    /// after 1970.
    pub fn absorb(&mut self, since: &Table, book: &Table, names_max: usize, hour: u32) {
        self.choose(book, names_max, hour);
        self.others.add(since.rest());
        for row in since.rows() {
            self.names.get_mut(&row.name).unwrap_or(&mut self.others).add(&row.tally);
        }
    }

    /// The chosen names.
    pub fn names(&self) -> impl Iterator<Item = (&str, &Tally)> {
        self.names.iter().map(|(name, tally)| (&**name, tally))
    }

    /// All others together.
    pub fn others(&self) -> &Tally {
        &self.others
    }

    fn choose(&mut self, book: &Table, names_max: usize, hour: u32) {
        let rate = |name: &str| book.get(name).map_or(0, |row| row.per_hour(hour, 0));
        let mut shown: Vec<(u64, Arc<str>)> =
            self.names.keys().map(|name| (rate(name), name.clone())).collect();
        shown.sort();
        let mut least_first = shown.into_iter();
        for _ in names_max..self.names.len() {
            least_first.next().into_iter().for_each(|(_, name)| self.drop_name(&name));
        }
        for row in book.busiest(names_max, hour) {
            if self.names.contains_key(&row.name) {
                continue;
            }
            if self.names.len() >= names_max {
                match least_first.next() {
                    Some((least, name)) if rate(&row.name) > least + least / 4 => {
                        self.drop_name(&name);
                    }
                    _ => return,
                }
            }
            self.names.insert(row.name.clone(), Tally::default());
        }
    }

    fn drop_name(&mut self, name: &str) {
        if let Some(tally) = self.names.remove(name) {
            self.others.add(&tally);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Outcome;

    fn taken(counts: &[(&str, u64)]) -> Table {
        let mut table = Table::new(64, 0);
        for (name, count) in counts {
            (0..*count).for_each(|_| table.count(name, Outcome::Delivered));
        }
        table
    }

    fn sum(exposed: &Exposed) -> u64 {
        exposed.names().map(|(_, tally)| tally.total()).sum::<u64>() + exposed.others().total()
    }

    /// Shows: A86
    #[test]
    fn counts_of_names_and_of_all_others_never_go_back() {
        let mut book = Table::new(64, 0);
        let mut exposed = Exposed::default();
        let mut seen: Vec<(String, u64)> = Vec::new();
        let (mut others, mut whole) = (0, 0);
        // One after the other is the busiest for some hours.
        for hour in 0..40u32 {
            let leader = format!("d{}.example", hour / 4);
            let since = taken(&[(&leader, 500), ("steady.example", 50), ("x", 1)]);
            book.absorb(&since, hour);
            exposed.absorb(&since, &book, 3, hour);
            whole += 551;
            assert!(exposed.names().count() <= 3);
            assert_eq!(sum(&exposed), whole, "nothing is lost");
            assert!(exposed.others().total() >= others, "hour {hour}");
            others = exposed.others().total();
            for (name, before) in &seen {
                let now = exposed.names().find(|(known, _)| known == name);
                assert!(now.is_none_or(|(_, tally)| tally.total() >= *before), "{name}");
            }
            let names = exposed.names();
            seen = names.map(|(name, tally)| (name.to_string(), tally.total())).collect();
            assert!(seen.iter().any(|(name, _)| *name == leader), "hour {hour}: {seen:?}");
            assert!(seen.iter().any(|(name, _)| name == "steady.example"), "{seen:?}");
        }
        exposed.absorb(&taken(&[]), &book, 1, 40);
        assert_eq!(exposed.names().count(), 1, "fewer are wanted");
        assert_eq!(sum(&exposed), whole);
    }

    #[test]
    fn neighbours_in_rank_do_not_take_turns() {
        let mut book = Table::new(64, 0);
        let mut exposed = Exposed::default();
        for hour in 0..10u32 {
            let more = if hour % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
            let since = taken(&[(more[0], 110), (more[1], 100)]);
            book.absorb(&since, hour);
            exposed.absorb(&since, &book, 1, hour);
            assert_eq!(exposed.names().map(|(name, _)| name).collect::<Vec<_>>(), ["a"]);
        }
    }
}
