//! LMTP as client, where it differs from SMTP beyond its greeting: behind the
//! final dot comes one reply for each recipient that was taken, in their order.
//!
//! Never here: all that the two have in common. Invariant: who was answered
//! keeps that answer, whatever happens to the session while others wait.
//!
//! Read first: RFC 2033 §4.2.

use crate::client::{Client, State};
use crate::reply::Reply;
use crate::timeout::Phase;
use crate::verdict::{Fault, Judgement, Scope, Trouble, Verdict, judge};

impl Client {
    /// The reply to the final dot for the next recipient. The wait for the one
    /// behind it begins anew: the server may deliver one after the other.
    pub(crate) fn dot_reply_for_one(&mut self, reply: &Reply) {
        let Some((index, is_last)) = self.open.next_reply_for() else {
            return self.lose(Fault::PeerUnasked { phase: Phase::Dot });
        };
        if is_last && !self.is_last_word() {
            // One too many: whose was whose nobody can know.
            return self.lose(Fault::PeerUnasked { phase: Phase::Dot });
        }
        match judge(Phase::Dot, reply, false) {
            Judgement::GoOn => self.settle(index, Verdict::Delivered { reply: reply.clone() }),
            Judgement::Refused(verdict) => self.settle(index, about_recipient(verdict)),
            // A goodbye for one says nothing of what became of the others.
            Judgement::SessionOver(verdict @ Verdict::Deferred(_)) if !is_last => {
                self.settle(index, about_recipient(verdict));
            }
            Judgement::SessionOver(verdict) => return self.lose_by(verdict),
        }
        if !is_last {
            self.await_phase(Phase::Dot);
        } else if self.state == (State::Body { drained: Some(0) }) {
            self.done();
        } else {
            self.lose(Fault::PeerUnasked { phase: Phase::Body });
        }
    }
}

/// What a server says of one recipient concerns no other, nor the server.
fn about_recipient(verdict: Verdict) -> Verdict {
    let narrow = |trouble| Trouble { scope: Scope::Recipient, ..trouble };
    match verdict {
        Verdict::Deferred(trouble) => Verdict::Deferred(narrow(trouble)),
        Verdict::Failed(trouble) => Verdict::Failed(narrow(trouble)),
        verdict => verdict,
    }
}
