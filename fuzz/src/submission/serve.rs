//! One client served: its bytes in pieces, messages answered at once or late,
//! handshakes and the answers to wrong passwords at their time.

use std::time::Duration;

use base::Monotonic;
use mail::{Domain, Envelope};
use smtp::submission::Settings;
use smtp::{Answer, Policy, Progress, Received, Session};

use super::users::{NAME, Tim};
use super::{HANDSHAKE, Plan, World, check_replies};
use crate::input::cut;

/// What came of a session.
#[derive(Default)]
pub(super) struct Served {
    pub(super) out: Vec<u8>,
    pub(super) messages: Vec<Received>,
}

/// Serves `bytes` in pieces; each message waits for its reply until `delay`
/// more pieces are here, or the session wants no more.
pub(super) fn serve(plan: &Plan, bytes: &[u8], way: u8, delay: u8) -> Served {
    let mut server = Server::new(plan, bytes.len(), delay);
    let mut goes_on = server.advance();
    for (place, flight) in bytes.split(|byte| *byte == HANDSHAKE).enumerate() {
        if place > 0 {
            goes_on = goes_on && server.catch_up() && server.shake_hands();
        }
        for piece in cut(flight, way) {
            goes_on = goes_on && server.take(piece);
        }
    }
    if goes_on && server.catch_up() { server.timed_out() } else { server.ended() }
}

struct Server<'a> {
    plan: &'a Plan,
    session: Session,
    world: World<'a>,
    now: Monotonic,
    served: Served,
    delay: u8,
    /// Pieces for which a message will wait for its reply.
    waits_for: Option<u8>,
    /// The session waits for the end of a handshake.
    in_handshake: bool,
    held_max: u64,
}

impl<'a> Server<'a> {
    fn new(plan: &'a Plan, bytes: usize, delay: u8) -> Self {
        let now = Monotonic::from_millis(1_000);
        let mut session = Session::new(plan.settings.clone(), now).with_tls(plan.tls);
        if plan.in_the_clear {
            session = session.with_log_in_in_the_clear();
        }
        if plan.asks {
            session = session.with_etrn();
        }
        if plan.lmtp {
            session = session.with_lmtp();
        }
        if plan.implicit {
            session = session.with_implicit_tls(now);
        }
        Self {
            plan,
            session,
            world: World { plan, users: Tim { busy: plan.busy } },
            now,
            served: Served::default(),
            delay,
            waits_for: None,
            in_handshake: plan.implicit,
            held_max: 4 * plan.settings.message_bytes_max + 4 * bytes as u64 + (256 << 10),
        }
    }

    /// Takes a piece; whether the session goes on.
    fn take(&mut self, piece: &[u8]) -> bool {
        if let Some(pieces_left) = &mut self.waits_for {
            assert_eq!(self.session.deadline(), None, "the client has nothing to do");
            *pieces_left = pieces_left.saturating_sub(1);
            if *pieces_left == 0 || !self.session.wants_input() {
                self.answer();
            }
        }
        self.session.push(piece);
        let held = self.session.message_bytes_held() as u64;
        assert!(held <= self.held_max, "memory is not bounded");
        self.advance()
    }

    /// Works off all that was sent, with no more delay.
    fn catch_up(&mut self) -> bool {
        while self.waits_for.is_some() {
            self.answer();
            if !self.advance() {
                return false;
            }
        }
        true
    }

    /// Takes the byte that may end a handshake.
    fn shake_hands(&mut self) -> bool {
        if !std::mem::take(&mut self.in_handshake) {
            return self.take(&[HANDSHAKE]);
        }
        self.session.secured(self.now);
        assert!(self.session.is_secure() && self.session.user().is_none());
        self.advance()
    }

    fn answer(&mut self) {
        self.waits_for = None;
        let answer = self.plan.answer(self.served.messages.len());
        self.session.answer(self.now, &answer, &mut self.served.out);
    }

    fn advance(&mut self) -> bool {
        loop {
            match self.session.advance(self.now, &mut self.served.out, &mut self.world) {
                Progress::Message(received) => {
                    self.check_sender();
                    self.served.messages.push(*received);
                    if self.delay > 0 {
                        self.waits_for = Some(self.delay);
                        return true;
                    }
                    self.answer();
                }
                Progress::NeedInput if self.owes_an_answer() => {
                    self.now = self.session.deadline().expect("it has one");
                    if self.session.timeout(self.now, &mut self.served.out) {
                        return false;
                    }
                }
                Progress::NeedInput => return true,
                Progress::StartTls => self.in_handshake = true,
                Progress::Close => return false,
            }
        }
    }

    /// Whether a wrong password waits for its answer: no wait for a client is
    /// that short.
    fn owes_an_answer(&self) -> bool {
        let penalty_max = Duration::from_secs(10);
        self.session.deadline().is_some_and(|deadline| deadline <= self.now + penalty_max)
    }

    /// Mail comes only from where it may come.
    fn check_sender(&self) {
        let is_secure = self.session.is_secure();
        assert!(is_secure || self.plan.tls != smtp::submission::Tls::Required, "mail without TLS");
        if let Some(user) = self.session.user() {
            assert_eq!(&**user, NAME);
            assert!(is_secure || self.plan.in_the_clear, "a password in the clear");
        }
    }

    /// The session has closed: nothing wakes it again.
    fn ended(mut self) -> Served {
        let session = &mut self.session;
        assert!(!session.wants_input());
        assert_eq!(session.deadline(), None);
        let before = self.served.out.len();
        session.push(b"NOOP\r\n");
        let now = self.now + Duration::from_secs(1);
        let end = session.advance(now, &mut self.served.out, &mut TakeNothing);
        assert!(matches!(end, Progress::Close));
        assert_eq!(self.served.out.len(), before, "something is said after the end");
        self.served
    }

    /// The client says no more: the session ends by itself.
    fn timed_out(mut self) -> Served {
        let deadline = self.session.deadline().expect("a wait for the client has an end");
        let usual = Settings::new(Domain::parse("a").expect("a name"));
        let at_most = self.now + 2 * usual.command_timeout;
        assert!(deadline > self.now && deadline <= at_most, "the wait is too long");
        let mut goodbye = Vec::new();
        assert!(self.session.timeout(deadline, &mut goodbye));
        if self.in_handshake {
            assert!(goodbye.is_empty(), "words in the clear within a handshake");
        } else {
            assert!(goodbye.starts_with(b"421 4.4.2 "));
        }
        check_replies(&goodbye);
        self.ended()
    }
}

struct TakeNothing;

impl Policy for TakeNothing {
    fn mail(&mut self, _: &Envelope, _: Option<u64>) -> Result<(), Answer> {
        panic!("a command is run after the end")
    }
}
