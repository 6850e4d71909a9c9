//! Promise 1, durable accept: a 2xx to the final dot leaves only when stable
//! storage has every byte and every recipient; and of promise 8: mail that fits
//! the rules is never refused for good.
//!
//! What a power cut leaves is judged by `outcome` at the end; here it is judged
//! at the moment of the 2xx.

use std::collections::BTreeSet;

use crate::observation::{Disk, Observation, Stamped, Verb};

use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Accept {
    safe: BTreeSet<u32>,
    full: bool,
}

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
            } else if !self.safe.contains(&message) {
                Err(Fault::new("a 2xx that no shard sent on record").with(message))
            } else {
                Ok(())
            };
        }
        if code < 500 {
            return Ok(());
        }
        let fits = mail.is_some_and(|mail| {
            let bytes = mail.letter.content.len() as u64;
            book.rules_since(mail.handed.mono).all(|rules| bytes <= rules.message_bytes)
        });
        match to {
            Verb::Dot if fits => {
                Err(Fault::new(format!("{code} for a message within the rules")).with(message))
            }
            Verb::Mail | Verb::Data if self.full => {
                Err(Fault::new(format!("{code} while the disk is full")).with(message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::play::Play;

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
