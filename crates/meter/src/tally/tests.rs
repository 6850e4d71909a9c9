//! Tables of names: who is kept, and that nothing is lost.

use base::Rng;

use super::*;

/// All that a table counts, rest and names.
fn all(table: &Table) -> Tally {
    let mut sum = *table.rest();
    table.rows().iter().for_each(|row| sum.add(&row.tally));
    sum
}

/// A hundred thousand domains, of which few have most of the mail, in a table
/// of 2 048: the fifty largest are all told apart with nearly all that is
/// theirs, and nothing is lost of the rest.
#[test]
fn the_large_ones_are_kept_among_a_hundred_thousand() {
    let mut table = Table::new(2_048, 7);
    let mut rng = Rng::new(1);
    let mut exact = vec![0u64; 100_000];
    for _ in 0..400_000 {
        // One in 1 + a number below 100 000: the first ones far more often.
        let bits = rng.next_u64();
        let domain = ((1u64 << (bits % 17)) + (bits >> 17) % (1 << (bits % 17))) % 100_000;
        exact[domain as usize] += 1;
        table.count(&format!("d{domain}.example"), Outcome::Delivered);
    }
    assert_eq!(table.rows().len(), 2_048);
    assert_eq!(all(&table).of(Outcome::Delivered), 400_000);
    let mut largest: Vec<usize> = (0..exact.len()).collect();
    largest.sort_by_key(|domain| std::cmp::Reverse(exact[*domain]));
    for domain in &largest[..50] {
        let name = format!("d{domain}.example");
        let row = table.rows().iter().find(|row| *row.name == *name).expect("it is large");
        let own = row.tally.total();
        assert!(own <= exact[*domain] && own + row.inherited >= exact[*domain], "{row:?}");
        assert!(own * 10 >= exact[*domain] * 9, "{own} of {}", exact[*domain]);
    }
}

#[test]
fn names_without_room_are_counted_together() {
    let mut table = Table::new(2, 0);
    for (name, outcome) in [
        ("a", Outcome::Delivered),
        ("a", Outcome::Deferred),
        ("b", Outcome::Failed),
        ("c", Outcome::Expired),
    ] {
        table.count(name, outcome);
    }
    let names = |table: &Table| -> Vec<String> {
        table.largest(9).iter().map(|row| row.name.to_string()).collect()
    };
    assert_eq!(names(&table), ["a", "c"], "b counted least");
    assert_eq!(table.rest(), &Tally::new([0, 0, 1, 0, 0]));
    let c = table.largest(2)[1];
    assert_eq!((c.tally.total(), c.inherited), (1, 1));
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    table.count(&long, Outcome::Removed);
    assert!(table.rows().iter().all(|row| row.name.len() <= NAME_BYTES_MAX));
    assert_eq!(all(&table).total(), 5);
}

#[test]
fn what_was_taken_is_added_and_rates_follow_the_hour() {
    let mut book = Table::new(100, 0);
    let take = |count: u64| {
        let mut taken = Table::new(8, 1);
        (0..count).for_each(|_| taken.count("a.example", Outcome::Delivered));
        taken.add_rest(&Tally::new([0, 5, 0, 0, 0]));
        taken
    };
    book.absorb(&take(60), 100);
    book.absorb(&take(30), 101);
    let row = book.largest(1)[0];
    assert_eq!((row.tally.total(), row.inherited), (90, 0));
    assert_eq!(book.rest().of(Outcome::Deferred), 10);
    let rates = [(101, 0), (101, 1_800), (101, 3_600), (102, 0), (103, 0), (99, 0)];
    let per_hour = rates.map(|(hour, seconds)| row.per_hour(hour, seconds));
    assert_eq!(per_hour, [90, 60, 30, 30, 0, 90], "a clock set back changes nothing");
    book.restore("b.example", &Tally::new([1, 2, 3, 4, 5]), 7);
    assert_eq!(book.largest(1)[0].name.as_ref(), "a.example");
    assert_eq!(book.largest(2)[1].inherited, 7);
}
