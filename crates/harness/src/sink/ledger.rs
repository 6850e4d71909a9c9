//! What the exchangers took: who got what when, kept compactly so that a
//! million messages can be checked, and whole for the few that a test reads.

use std::time::Instant;

use crate::message::{Proof, digest, prove};

/// One message that reached one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Number that the message carries.
    pub number: u64,
    /// [`recipient_key`] of the recipient.
    pub recipient: u64,
    /// When MAIL was read.
    pub began: Instant,
    /// When the final dot was read.
    pub at: Instant,
    /// The content's digest does not match.
    pub altered: bool,
}

/// A message kept whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What followed `MAIL `, as it came.
    pub mail: String,
    /// What followed each accepted `RCPT `, as it came.
    pub rcpt: Vec<String>,
    /// Content without stuffing and final dot.
    pub content: Vec<u8>,
    /// When the final dot was read.
    pub at: Instant,
}

impl Kept {
    /// The reverse-path without angle brackets.
    pub fn sender(&self) -> &str {
        path(&self.mail).unwrap_or_default()
    }

    /// The recipients without angle brackets.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.rcpt.iter().map(|line| path(line).unwrap_or_default())
    }
}

/// Faults that the sink commits on purpose, to show that checks can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The `n`-th test message taken, from 0, is forgotten.
    Lose(u64),
    /// The `n`-th test message taken is recorded twice.
    Double(u64),
    /// The `n`-th test message taken loses its last line.
    Alter(u64),
}

/// A number that stands for a recipient address; the case of letters counts.
pub fn recipient_key(address: &str) -> u64 {
    digest(0, address.as_bytes(), b"")
}

/// The address between the first angle brackets.
pub(crate) fn path(parameters: &str) -> Option<&str> {
    let (_, rest) = parameters.split_once('<')?;
    Some(rest.split_once('>')?.0)
}

/// Everything taken so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) kept: Vec<Kept>,
    /// Messages that no composer wrote.
    pub(crate) foreign: u64,
    /// Test messages taken.
    taken: u64,
    keep_max: usize,
    fault: Option<Fault>,
}

impl Ledger {
    /// An empty ledger that keeps `keep_max` messages whole and commits `fault`.
    pub(crate) fn new(keep_max: usize, fault: Option<Fault>) -> Self {
        Self { keep_max, fault, ..Self::default() }
    }

    /// Records a message, begun and ended at these `times`; returns the
    /// recipients recorded.
    pub(crate) fn take(
        &mut self,
        mail: &str,
        rcpt: &[String],
        content: &[u8],
        times: (Instant, Instant),
    ) -> u64 {
        let sender = path(mail).unwrap_or_default().as_bytes();
        let mut content = content;
        let mut proof = prove(sender, content);
        let mut copies = 1;
        if proof != Proof::Foreign {
            match self.fault {
                Some(Fault::Lose(nth)) if nth == self.taken => copies = 0,
                Some(Fault::Double(nth)) if nth == self.taken => copies = 2,
                Some(Fault::Alter(nth)) if nth == self.taken => {
                    content = less_one_line(content);
                    proof = prove(sender, content);
                }
                _ => {}
            }
            self.taken += 1;
        }
        for _ in 0..copies {
            self.record(proof, rcpt, times);
            self.keep(mail, rcpt, content, times.1);
        }
        copies * rcpt.len() as u64
    }

    fn record(&mut self, proof: Proof, rcpt: &[String], (began, at): (Instant, Instant)) {
        let (number, altered) = match proof {
            Proof::Whole { number } => (number, false),
            Proof::Altered { number } => (number, true),
            Proof::Foreign => {
                self.foreign += 1;
                return;
            }
        };
        for line in rcpt {
            let recipient = recipient_key(path(line).unwrap_or_default());
            self.arrivals.push(Arrival { number, recipient, began, at, altered });
        }
    }

    fn keep(&mut self, mail: &str, rcpt: &[String], content: &[u8], at: Instant) {
        if self.kept.len() < self.keep_max {
            let (mail, rcpt) = (mail.to_owned(), rcpt.to_vec());
            self.kept.push(Kept { mail, rcpt, content: content.to_vec(), at });
        }
    }
}

fn less_one_line(content: &[u8]) -> &[u8] {
    let but_last_end = &content[..content.len().saturating_sub(2)];
    let end = memchr::memmem::rfind(but_last_end, b"\r\n").map_or(0, |at| at + 2);
    &content[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Composer;
    use crate::workload::Workload;

    fn take(fault: Option<Fault>) -> Ledger {
        let workload = Workload::new(3, 1, 1);
        let mut composer = Composer::new(&workload);
        let mut ledger = Ledger::new(2, fault);
        for number in 0..3 {
            let mail = format!("FROM:<{}>", workload.sender(number));
            let rcpt: Vec<String> = workload
                .recipients(number)
                .iter()
                .map(|to| format!("TO:<{to}> NOTIFY=NEVER"))
                .collect();
            ledger.take(&mail, &rcpt, composer.plain(number), (Instant::now(), Instant::now()));
        }
        ledger
    }

    #[test]
    fn messages_are_recorded_by_number_and_recipient_and_some_kept() {
        let ledger = take(None);
        let workload = Workload::new(3, 1, 1);
        let numbers: Vec<u64> = ledger.arrivals.iter().map(|arrival| arrival.number).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert!(ledger.arrivals.iter().all(|arrival| !arrival.altered));
        assert_eq!(ledger.arrivals[2].recipient, recipient_key(&workload.recipients(2)[0]));
        assert_eq!(ledger.kept.len(), 2);
        assert_eq!(ledger.kept[1].sender(), workload.sender(1));
        assert!(ledger.kept[1].recipients().eq(workload.recipients(1).iter()));
        assert_eq!(ledger.kept[1].rcpt[0], "TO:<r1.0@d001.example> NOTIFY=NEVER");
    }

    #[test]
    fn each_fault_shows_in_the_ledger() {
        let numbers = |fault| {
            take(Some(fault)).arrivals.iter().map(|a| (a.number, a.altered)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(Fault::Lose(1)), [(0, false), (2, false)]);
        assert_eq!(numbers(Fault::Double(0)), [(0, false), (0, false), (1, false), (2, false)]);
        assert_eq!(numbers(Fault::Alter(2)), [(0, false), (1, false), (2, true)]);
    }

    #[test]
    fn strangers_are_counted_apart() {
        let mut ledger = Ledger::new(9, None);
        let rcpt = ["TO:<a@X.example>".to_owned(), "TO:<b@x.example>".to_owned()];
        assert_eq!(
            ledger.take(
                "FROM:<>",
                &rcpt,
                b"Subject: x\r\n\r\nhello\r\n",
                (Instant::now(), Instant::now())
            ),
            2
        );
        assert_eq!((ledger.foreign, ledger.arrivals.len()), (1, 0));
        assert_eq!(ledger.kept[0].sender(), "");
    }
}
