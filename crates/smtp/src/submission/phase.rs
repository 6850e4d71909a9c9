//! How far a client's session is, for operators who look at sessions.

use super::{Session, State};

impl Session {
    /// What is awaited of the client, or of us, in the field's terms.
    pub fn phase(&self) -> &'static str {
        match &self.state {
            State::Start => "greeting",
            State::Command | State::Skipping => match (&self.transaction, &self.hello) {
                (Some(transaction), _) if transaction.envelope.recipients.is_empty() => "RCPT",
                (Some(_), _) => "DATA",
                (None, Some(_)) => "MAIL",
                (None, None) => "EHLO",
            },
            State::Data { .. } | State::Chunk(_) => "content",
            State::Waiting => "storing",
            State::Response(_) | State::LongResponse | State::Penalty(_) => "AUTH",
            State::StartTls | State::Handshake { .. } => "TLS",
            State::Closed => "closing",
        }
    }

    /// Whether a transaction is under way: MAIL was taken and the message has
    /// no answer yet.
    pub fn is_in_transaction(&self) -> bool {
        let content = matches!(self.state, State::Data { .. } | State::Chunk(_) | State::Waiting);
        content || self.transaction.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::Monotonic;
    use mail::Domain;

    use crate::Answer;
    use crate::submission::{Progress, Session, Settings, TakeAll};

    #[test]
    fn a_session_says_how_far_it_is() {
        let hostname = Domain::parse("mx.example").unwrap();
        let now = Monotonic::from_millis(1);
        let mut session = Session::new(Arc::new(Settings::new(hostname)), now);
        let (mut phases, mut begun) = (vec![session.phase()], Vec::new());
        for line in [
            "",
            "EHLO a.example\r\n",
            "MAIL FROM:<a@b.example>\r\n",
            "RCPT TO:<c@d.example>\r\n",
            "DATA\r\n",
            "x\r\n.\r\n",
        ] {
            session.push(line.as_bytes());
            let progress = session.advance(now, &mut Vec::new(), &mut TakeAll);
            phases.push(session.phase());
            begun.push(session.is_in_transaction());
            assert!(matches!(progress, Progress::NeedInput | Progress::Message(_)));
        }
        let said = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content", "storing"];
        assert_eq!(phases, said);
        assert_eq!(begun, [false, false, true, true, true, true]);
        let taken = Answer::new(250, mail::Status::OK, "Ok");
        session.answer(now, &taken, &mut Vec::new());
        assert!(!session.is_in_transaction());
    }
}
