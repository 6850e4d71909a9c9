//! Promise 1, durable accept: a 2xx to the final dot leaves only when stable
//! storage has every byte and every recipient; and of promise 8: mail that fits
//! the rules is never refused for good.
//!
//! What a power cut leaves is judged by `outcome` at the end; here it is judged
//! at the moment of the 2xx.

use std::collections::BTreeSet;

use crate::observation::{Disk, Letter, Observation, Stamped, Verb};

use crate::rules::Rules;

use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Accept {
    safe: BTreeSet<u32>,
    /// Transactions of which something was refused.
    stumbled: BTreeSet<u32>,
    full: bool,
}

/// What fits into the smallest segment of any run, with its envelope.
const RECORD_BYTES: u64 = 32 << 10;

impl Oracle for Accept {
    fn name(&self) -> &'static str {
        "durable accept"
    }

    fn promise(&self) -> u8 {
        1
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        match &seen.what {
            Observation::Promised { message, durable: false, .. } => {
                Err(Fault::new("a 2xx leaves for what is not on stable storage").with(*message))
            }
            Observation::Promised { message, durable: true, .. } => {
                self.safe.insert(*message);
                Ok(())
            }
            Observation::Answered { message, to, code, .. } => {
                self.answered(book, *message, *to, *code)
            }
            Observation::Disk { what: Disk::Full, .. } => {
                self.full = true;
                Ok(())
            }
            Observation::Disk { what: Disk::Roomy, .. } => {
                self.full = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Accept {
    fn answered(&mut self, book: &Book, message: u32, to: Verb, code: u16) -> Verdict {
        let mail = book.mail.get(&message);
        if to == Verb::Dot && (200..300).contains(&code) {
            return if mail.is_none() {
                Err(Fault::new("a 2xx for what was not sent whole").with(message))
            } else if mail.is_some_and(|mail| !is_proper(&mail.letter)) {
                Err(Fault::new("a 2xx for content with a bare CR or LF").with(message))
            } else if !self.safe.contains(&message) {
                Err(Fault::new("a 2xx that no shard sent on record").with(message))
            } else {
                Ok(())
            };
        }
        if code >= 400 && to != Verb::Dot {
            self.stumbled.insert(message);
        }
        // A command out of order is that because of an earlier refusal.
        if code < 500 || code == 503 && self.stumbled.contains(&message) {
            return Ok(());
        }
        let fits = mail.is_some_and(|mail| {
            let bytes = mail.letter.content.len() as u64;
            let most = |rules: &Rules| bytes <= rules.message_bytes.min(RECORD_BYTES);
            let small = book.rules_since(mail.handed.mono).all(most);
            small && is_proper(&mail.letter)
        });
        match to {
            Verb::Dot if fits => {
                Err(Fault::new(format!("{code} for a message within the rules")).with(message))
            }
            Verb::Mail if self.full => {
                Err(Fault::new(format!("{code} while the disk is full")).with(message))
            }
            _ => Ok(()),
        }
    }
}

/// Whether lines end in CR LF alone: anything else may end elsewhere for others
/// (RFC 5321 §2.3.8).
fn is_proper(letter: &Letter) -> bool {
    let content = &letter.content;
    let pairs = content.windows(2).all(|pair| (pair[0] == b'\r') == (pair[1] == b'\n'));
    pairs && content.first() != Some(&b'\n') && content.ends_with(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::play::Play;
    use std::sync::Arc;

    fn answered(play: &mut Play, to: Verb, code: u16) {
        play.see(Observation::Answered { client: Play::CLIENT, message: 1, to, code, id: None });
    }

    fn promised(play: &mut Play, durable: bool) {
        play.see(Observation::Promised { client: Play::CLIENT, message: 1, durable });
    }

    #[test]
    fn a_message_that_is_safe_before_its_250_is_fine() {
        let mut play = Play::of(Accept::default());
        play.handed(1, &["b@one.example"]);
        promised(&mut play, true);
        answered(&mut play, Verb::Dot, 250);
        play.fine();
    }

    #[test]
    fn a_250_for_what_is_not_safe_is_caught() {
        let mut play = Play::of(Accept::default());
        play.handed(1, &["b@one.example"]);
        promised(&mut play, false);
        play.caught("not on stable storage");
        let mut play = Play::of(Accept::default());
        play.handed(1, &["b@one.example"]);
        answered(&mut play, Verb::Dot, 250);
        play.caught("no shard sent");
        let mut play = Play::of(Accept::default());
        promised(&mut play, true);
        answered(&mut play, Verb::Dot, 250);
        play.caught("not sent whole");
    }

    #[test]
    fn good_mail_is_never_refused_for_good() {
        let mut play = Play::of(Accept::default());
        play.handed(1, &["b@one.example"]);
        for code in [451, 452] {
            answered(&mut play, Verb::Dot, code);
        }
        play.still_fine();
        answered(&mut play, Verb::Dot, 554);
        play.caught("within the rules");
    }

    #[test]
    fn content_that_ends_elsewhere_for_others_is_never_accepted() {
        let ends = ["x\r\n", "x\n.\r\n", "x\r.\r\n", "x\r\n\n", "x", "\n"];
        let proper = |end: &&str| {
            let content = end.as_bytes().into();
            is_proper(&Letter { sender: "".into(), to: Vec::new(), ret: 0, envid: None, content })
        };
        assert_eq!(ends.iter().filter(|end| proper(end)).count(), 1);
        let mut play = Play::of(Accept::default());
        play.handed_as(1, |letter| Letter {
            content: Arc::from(&b"x: y\r\n\r\n\n.\r\n"[..]),
            ..letter
        });
        let mut refused = play.again();
        answered(&mut refused, Verb::Dot, 554);
        refused.fine();
        promised(&mut play, true);
        answered(&mut play, Verb::Dot, 250);
        play.caught("bare CR or LF");
    }

    #[test]
    fn a_full_disk_refuses_for_now_alone() {
        let mut play = Play::of(Accept::default());
        answered(&mut play, Verb::Mail, 550);
        play.see(Observation::Disk { segment: None, what: Disk::Full });
        answered(&mut play, Verb::Mail, 452);
        play.still_fine();
        let mut full = play.again();
        answered(&mut full, Verb::Mail, 552);
        full.caught("disk is full");
        play.see(Observation::Disk { segment: None, what: Disk::Roomy });
        answered(&mut play, Verb::Mail, 550);
        play.fine();
    }
}
