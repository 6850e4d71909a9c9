//! What a session asks of the house it serves: who may send, where to, whether
//! there is room.
//!
//! Never here: what the answers do to the session.

use mail::{Envelope, Recipient, Status};

use super::Taken;
use crate::answer::Answer;
use crate::command::Node;
use crate::sasl::server::Users;

/// What the session cannot know itself. Each method may refuse with a 4yz or
/// 5yz answer; a 421 ends the session after it.
pub trait Policy {
    /// A readable MAIL; `declared` is the SIZE parameter in octets.
    ///
    /// # Errors
    /// The refusal.
    fn mail(&mut self, envelope: &Envelope, declared: Option<u64>) -> Result<(), Answer> {
        let _ = (envelope, declared);
        Ok(())
    }

    /// A readable RCPT below the limit; `envelope` is what there is so far.
    ///
    /// # Errors
    /// The refusal.
    fn rcpt(&mut self, envelope: &Envelope, recipient: &Recipient) -> Result<Taken, Answer> {
        let _ = (envelope, recipient);
        Ok(Taken::AsIs)
    }

    /// The content is about to come, by DATA or by a first BDAT: the last
    /// moment to say that there is no room, with 452 and 4.3.1.
    ///
    /// # Errors
    /// The refusal.
    fn content(&mut self, envelope: &Envelope, declared: Option<u64>) -> Result<(), Answer> {
        let _ = (envelope, declared);
        Ok(())
    }

    /// A readable ETRN: its mail is to be tried now.
    ///
    /// # Errors
    /// The refusal: 459 for who may not ask, 458 when it cannot be done now
    /// (RFC 1985 §5).
    fn etrn(&mut self, node: &Node) -> Result<(), Answer> {
        Err(Answer::new(459, Status::new(4, 7, 1), format!("{node} is not yours to ask for")))
    }

    /// Somebody wants to log in; who the users are.
    ///
    /// # Errors
    /// The refusal: too many wrong passwords came from there.
    fn users(&mut self) -> Result<&mut dyn Users, Answer> {
        Err(Answer::new(454, Status::new(4, 7, 0), "Nobody can log in now"))
    }

    /// A log-in has ended: `user` is who it claims to be, as far as it said.
    ///
    /// # Errors
    /// The refusal of one who is proved: it has too many sessions.
    fn log_in_ended(&mut self, user: Option<&str>, proved: bool) -> Result<(), Answer> {
        let _ = (user, proved);
        Ok(())
    }

    /// A command line came, without its line end; of a log-in only that it is
    /// one.
    fn heard(&mut self, line: &[u8]) {
        let _ = line;
    }
}
