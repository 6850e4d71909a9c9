//! The book as a text, so that it goes on after a start: a line for each day
//! and name, and a last line that sums the text up. What does not fit the sum,
//! or is no such text, is damaged as a whole: half a book would be taken for a
//! whole one.
//!
//! Never fails on any bytes. Invariant: a book written and read again is the
//! same but for its rates.

use std::fmt::Write;

use base::Wall;
use thiserror::Error;

use super::{DAYS_MAX, Day, KINDS, Statistics};
use crate::tally::{OUTCOMES, Row, Tally};

/// First words of the text; another number would be another form.
const HEAD: &str = "ringpost-statistics 1";

/// Why a text is no book.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Damaged {
    /// A line that means nothing.
    #[error("line {0} is not one of statistics")]
    LocalLine(usize),
    /// The end is missing, or anything in it is another than was written.
    #[error("its end is missing, or something in it has changed")]
    LocalSum,
    /// More days than are ever written.
    #[error("it holds more days than are ever written")]
    LocalLarge,
}

impl Statistics {
    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\nsince {}\n", self.since.as_millis());
        for (day, of) in &self.days {
            let Day { accepted, bytes, tally } = of;
            line(&mut text, format_args!("day {day} {accepted} {bytes}"), tally, "");
        }
        for kind in KINDS {
            let table = self.traffic.of(kind);
            line(&mut text, format_args!("rest-{}", kind.name()), table.rest(), "");
            for Row { name, tally, inherited, .. } in table.rows() {
                line(&mut text, format_args!("{} {inherited}", kind.name()), tally, name);
            }
        }
        let sum = sum(&text);
        writeln!(text, "end {sum:016x}").expect("a String takes everything");
        text
    }

    /// Reads a text; `seed` is secret to the run.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn from_text(text: &str, seed: u64) -> Result<Self, Damaged> {
        let end = text.trim_end_matches('\n').rfind("\nend ").ok_or(Damaged::LocalSum)? + 1;
        let (whole, end) = text.split_at(end);
        if end != format!("end {:016x}\n", sum(whole)) {
            return Err(Damaged::LocalSum);
        }
        let mut book = Self::new(Wall::default(), seed);
        for (at, line) in whole.lines().enumerate() {
            let read = if at == 0 { (line == HEAD).then_some(()) } else { book.read(line) };
            read.ok_or(Damaged::LocalLine(at + 1))?;
        }
        if book.days.len() > DAYS_MAX {
            return Err(Damaged::LocalLarge);
        }
        Ok(book)
    }

    /// Takes one line in; `None` for one that means nothing.
    fn read(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        let mut words = rest.splitn(2 + OUTCOMES.len() + usize::from(word == "day"), ' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        if word == "since" {
            self.since = Wall::from_millis(number()?);
            return words.next().is_none().then_some(());
        }
        if word == "day" {
            let day = u32::try_from(number()?).ok()?;
            let (accepted, bytes) = (number()?, number()?);
            let tally = tally(&mut number)?;
            self.days.insert(day, Day { accepted, bytes, tally });
            return words.next().is_none().then_some(());
        }
        if let Some(kind) = word.strip_prefix("rest-") {
            let kind = KINDS.into_iter().find(|known| known.name() == kind)?;
            let tally = tally(&mut number)?;
            self.traffic.tables[kind as usize].add_rest(&tally);
            return words.next().is_none().then_some(());
        }
        let kind = KINDS.into_iter().find(|known| known.name() == word)?;
        let inherited = number()?;
        let tally = tally(&mut number)?;
        let name = words.next().filter(|name| !name.is_empty())?;
        self.traffic.tables[kind as usize].restore(name, &tally, inherited);
        Some(())
    }
}

fn tally(number: &mut impl FnMut() -> Option<u64>) -> Option<Tally> {
    let mut counts = [0; OUTCOMES.len()];
    for count in &mut counts {
        *count = number()?;
    }
    Some(Tally::new(counts))
}

/// One line; the name comes last, for it may hold spaces.
fn line(text: &mut String, head: std::fmt::Arguments<'_>, tally: &Tally, name: &str) {
    let taken = "a String takes everything";
    text.write_fmt(head).expect(taken);
    for outcome in OUTCOMES {
        write!(text, " {}", tally.of(outcome)).expect(taken);
    }
    if !name.is_empty() {
        text.push(' ');
        // A line is a line, whatever a name holds.
        text.extend(name.chars().map(|c| if c.is_control() { '?' } else { c }));
    }
    text.push('\n');
}

/// FNV-1a, 64 bits: an accident shows, and nobody is kept from anything by it.
fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;
    use crate::statistics::{Kind, Traffic};
    use crate::tally::Outcome;

    fn book() -> Statistics {
        let mut traffic = Traffic::new(1);
        traffic.count(Kind::Domain, "a.example", Outcome::Delivered);
        traffic.count(Kind::Route, "*.b example", Outcome::Deferred);
        traffic.count(Kind::Site, "mx:x\ny", Outcome::Failed);
        let mut book = Statistics::new(Wall::from_millis(1_795_000_000_000), 2);
        let after = Counters { delivered: 7, bytes_accepted: 1 << 40, ..Counters::default() };
        book.absorb(book.since, &traffic, &Counters::default(), &after);
        book.traffic.tables[1].add_rest(&Tally::new([1, 2, 3, 4, 5]));
        book
    }

    #[test]
    fn a_book_that_is_written_and_read_says_the_same() {
        let text = book().to_text();
        let read = Statistics::from_text(&text, 99).unwrap();
        assert_eq!(read.to_text(), text);
        assert_eq!(read.since, book().since);
        assert_eq!(read.days().next(), book().days().next());
        assert_eq!(&*read.traffic().of(Kind::Site).rows()[0].name, "mx:x?y", "{text}");
        assert_eq!(&*read.traffic().of(Kind::Route).rows()[0].name, "*.b example");
        let none = Statistics::new(Wall::from_millis(5), 1);
        assert_eq!(Statistics::from_text(&none.to_text(), 1).unwrap(), none);
    }

    /// Each cut and each byte that changed is noticed, and nothing is taken of
    /// the rest.
    #[test]
    fn any_damage_is_noticed() {
        let text = book().to_text();
        for cut in 0..text.len() {
            let read = Statistics::from_text(&text[..cut], 1);
            assert!(read.is_err(), "cut at {cut}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Statistics::from_text(&changed, 1).is_err(), "byte {at} of {changed:?}");
        }
        let summed = |text: &str| format!("{text}end {:016x}\n", sum(text));
        let foreign = summed("something else\n");
        assert_eq!(Statistics::from_text(&foreign, 1), Err(Damaged::LocalLine(1)));
        let strange = summed(&format!("{HEAD}\nplanet 1 2 3 4 5 6 x\n"));
        assert_eq!(Statistics::from_text(&strange, 1), Err(Damaged::LocalLine(2)));
        let many: String = (0..=DAYS_MAX).map(|n| format!("day {n} 0 0 0 0 0 0 0\n")).collect();
        let many = summed(&format!("{HEAD}\n{many}"));
        assert_eq!(Statistics::from_text(&many, 1), Err(Damaged::LocalLarge));
    }
}
