//! A client of time servers: whom to ask and when, and by how much our clock is
//! wrong.
//!
//! Never sends and reads no clock: packets, our clock and the time since the
//! machine's start come in, [`Action`]s go out. Of several servers the one in
//! the middle is believed, so that a single one that is wrong leads nobody
//! astray; two that differ are not believed at all. The clock is set in one
//! step, since every timer of the daemon runs by another clock.
//!
//! Read first: RFC 5905, its section on the simple protocol.

use std::net::SocketAddr;
use std::time::Duration;

use crate::sntp::{self, Answer, PACKET_BYTES};

/// Servers asked, the first ones told of.
pub const SERVERS_MAX: usize = 4;
/// How long answers are waited for.
pub const ANSWER_TIME: Duration = Duration::from_secs(2);
/// The wait after a first round without result; each further one twice as long.
pub const FIRST_WAIT: Duration = Duration::from_secs(4);
/// The wait after a clock was set that was wrong by more than [`DIFFERENCE_MAX`]:
/// whether it is right now is worth a question.
pub const CHECK_WAIT: Duration = Duration::from_secs(64);
/// The wait between rounds once the clock is right, and the longest of all.
pub const WAIT_MAX: Duration = Duration::from_secs(1024);
/// Two servers that differ by more than this are not both right.
pub const DIFFERENCE_MAX: Duration = Duration::from_secs(1);
/// An error below is left alone: the way there and back is not more exact.
pub const ERROR_MIN: Duration = Duration::from_millis(5);
/// Once the clock was right, a lone server is not believed beyond this.
pub const JUMP_MAX: Duration = Duration::from_secs(1000);
/// Rounds without a result after which mail is not kept waiting for a third: they
/// take eight seconds.
const AWAITED_ROUNDS: u32 = 2;
/// No clock is right that shows a time before this program was written, the
/// first of January 2026.
const FLOOR: Duration = Duration::from_secs(1_767_225_600);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this packet to a server.
    Ask {
        /// The server.
        server: SocketAddr,
        /// The packet.
        packet: [u8; PACKET_BYTES],
    },
    /// The clock is behind by so many nanoseconds; ahead if negative.
    Set(i64),
    /// The clock is within [`DIFFERENCE_MAX`] now, and may be believed: said after
    /// each round that told the time.
    Keep,
    /// The clock is right; said when it was not known before.
    IsRight,
    /// Why it is not known whether the clock is right; said once.
    Unknown(&'static str),
}

/// The client.
#[derive(Clone, Debug, Default)]
pub struct Client {
    servers: Vec<SocketAddr>,
    /// Questions of this round that have no answer, and our clocks when they
    /// were asked.
    open: Vec<Question>,
    /// Errors of our clock that the answers of this round tell of.
    errors: Vec<i64>,
    ends: Option<Duration>,
    next: Duration,
    /// Rounds in a row without a result.
    failed: u32,
    was_right: bool,
    error: Option<i64>,
    told: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    server: SocketAddr,
    number: u64,
    asked: Duration,
    wall: Duration,
}

impl Client {
    /// Other servers are to be asked, at once if they are other ones.
    pub fn set_servers(&mut self, now: Duration, servers: &[SocketAddr]) {
        let servers = &servers[..servers.len().min(SERVERS_MAX)];
        if self.servers != servers {
            self.servers = servers.to_vec();
            (self.failed, self.next) = (0, now);
        }
    }

    /// By how many nanoseconds the clock was behind when it was last compared;
    /// ahead if negative. None while nobody has told the time, and after the
    /// clock was set by more than [`DIFFERENCE_MAX`], until the next question.
    pub fn error(&self) -> Option<i64> {
        self.error
    }

    /// Whether the clock was never compared, and may be soon: there is a server,
    /// and the first rounds are not over. Never true for longer than those take.
    pub fn is_awaited(&self) -> bool {
        !self.servers.is_empty() && !self.was_right && self.failed < AWAITED_ROUNDS
    }

    /// When `tick` is to be called at the latest; never while there is no server.
    pub fn next(&self) -> Option<Duration> {
        self.ends.or_else(|| (!self.servers.is_empty()).then_some(self.next))
    }

    /// The time has come to `now`; `wall` is our clock, since 1970, and `number`
    /// gives a random number.
    pub fn tick(
        &mut self,
        now: Duration,
        wall: Duration,
        mut number: impl FnMut() -> u64,
    ) -> Vec<Action> {
        if self.ends.is_some_and(|ends| now >= ends) {
            return self.judge(now);
        }
        if now < self.next || self.servers.is_empty() || self.ends.is_some() {
            return Vec::new();
        }
        self.errors.clear();
        self.ends = Some(now + ANSWER_TIME);
        let asked = self.servers.iter();
        let asked =
            asked.map(|server| Question { server: *server, number: number(), asked: now, wall });
        self.open = asked.collect();
        let ask =
            |it: &Question| Action::Ask { server: it.server, packet: sntp::question(it.number) };
        self.open.iter().map(ask).collect()
    }

    /// Something was heard from `server`, when the machine had run for `now`.
    pub fn heard(&mut self, now: Duration, server: SocketAddr, packet: &[u8]) -> Vec<Action> {
        let mut found = None;
        self.open.retain(|it| {
            let answer = sntp::answer(packet, it.number).filter(|_| it.server == server);
            found = found.or(answer.map(|answer| (*it, answer)));
            answer.is_none()
        });
        let Some((question, answer)) = found else { return Vec::new() };
        if let Answer::Time { received, sent } = answer {
            self.errors.extend(error(&question, now, received, sent));
        }
        if self.open.is_empty() && self.ends.is_some() { self.judge(now) } else { Vec::new() }
    }

    /// A round is over.
    fn judge(&mut self, now: Duration) -> Vec<Action> {
        self.ends = None;
        self.open.clear();
        let mut errors = std::mem::take(&mut self.errors);
        errors.sort_unstable();
        let differ = |one: i64, other: i64| one.abs_diff(other) > nanos(DIFFERENCE_MAX);
        let error = match *errors {
            [] => Err("no time server answers"),
            [one] if self.was_right && one.unsigned_abs() > nanos(JUMP_MAX) => {
                Err("the only time server jumped")
            }
            [one] => Ok(one),
            [one, other] if differ(one, other) => Err("two time servers differ"),
            // With four, the one below the middle is as good as that above.
            [..] => Ok(errors[(errors.len() - 1) / 2]),
        };
        match error {
            Ok(error) => self.is_known(now, error),
            Err(why) => self.is_unknown(now, why),
        }
    }

    fn is_known(&mut self, now: Duration, error: i64) -> Vec<Action> {
        (self.failed, self.told) = (0, None);
        let was_wrong = error.unsigned_abs() > nanos(DIFFERENCE_MAX);
        // What is left after so large a step is not known yet.
        self.error = (!was_wrong).then_some(error);
        self.next = now + if was_wrong { CHECK_WAIT } else { WAIT_MAX };
        let is_news = !std::mem::replace(&mut self.was_right, true);
        let set = (error.unsigned_abs() >= nanos(ERROR_MIN)).then_some(Action::Set(error));
        let is_right = is_news.then_some(Action::IsRight);
        set.into_iter().chain([Action::Keep]).chain(is_right).collect()
    }

    fn is_unknown(&mut self, now: Duration, why: &'static str) -> Vec<Action> {
        let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(self.failed.min(10)));
        self.failed = self.failed.saturating_add(1);
        self.next = now + wait.min(WAIT_MAX);
        let is_news = self.told.replace(why) != Some(why);
        if is_news { vec![Action::Unknown(why)] } else { Vec::new() }
    }
}

/// By how much our clock is behind; none where the answer was too long under
/// way, or is from before this program was written.
fn error(question: &Question, now: Duration, received: Duration, sent: Duration) -> Option<i64> {
    let took = now.saturating_sub(question.asked);
    let way = took.checked_sub(sent.checked_sub(received)?)?;
    if way > DIFFERENCE_MAX || received < FLOOR {
        return None;
    }
    // Our clock said `wall` half the way before the server's said `received`.
    let ours = i128::try_from((question.wall + way / 2).as_nanos()).ok()?;
    i64::try_from(i128::try_from(received.as_nanos()).ok()? - ours).ok()
}

const fn nanos(time: Duration) -> u64 {
    time.as_secs() * 1_000_000_000 + time.subsec_nanos() as u64
}

#[cfg(test)]
mod tests;
