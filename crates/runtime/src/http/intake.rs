//! Bodies that are too large for memory: handed on piece by piece as they come.
//!
//! Invariants: nothing beyond the announced length is read; the whole has one
//! deadline, however slowly its bytes come.

use std::io;
use std::time::{Duration, Instant};

use super::{HttpResponse, Timed, time_for};

/// Octets of one piece.
const PIECE: usize = 64 << 10;

/// What takes in a body, instead of an answer at once.
pub struct Intake(pub Box<dyn Takes>);

/// Takes in a body.
pub trait Takes: Send {
    /// So many octets will come.
    ///
    /// # Errors
    /// The answer, where they are not wanted: none of them is read.
    fn begin(&mut self, bytes: u64) -> Result<(), HttpResponse>;

    /// The next of them.
    ///
    /// # Errors
    /// The answer, where no more is wanted.
    fn take(&mut self, piece: &[u8]) -> Result<(), HttpResponse>;

    /// All have come: what is answered. Without it they have not.
    fn end(self: Box<Self>) -> HttpResponse;
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intake")
    }
}

/// Takes in `bytes` octets: first what was `held` of them, then what comes. The
/// answer, and how many of them were not read.
///
/// # Errors
/// The connection broke, or the time was over.
pub(super) fn take_in(
    stream: &mut impl Timed,
    held: &mut Vec<u8>,
    mut intake: Intake,
    bytes: u64,
    asks: bool,
) -> io::Result<(HttpResponse, u64)> {
    if let Err(refusal) = intake.0.begin(bytes) {
        return Ok((refusal, bytes));
    }
    if asks {
        stream.limit(super::REQUEST_TIME_MAX)?;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let until = Instant::now() + time_for(bytes);
    let at_hand = held.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut left = bytes - at_hand as u64;
    let begun: Vec<u8> = held.drain(..at_hand).collect();
    if let Err(refusal) = intake.0.take(&begun) {
        return Ok((refusal, left));
    }
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let time = until.saturating_duration_since(Instant::now());
        if time.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Who says nothing for so long has gone.
        stream.limit(time.min(SILENCE_MAX))?;
        let most = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        match stream.read(&mut piece[..most]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                left -= count as u64;
                if let Err(refusal) = intake.0.take(&piece[..count]) {
                    return Ok((refusal, left));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((intake.0.end(), 0))
}

/// Reads what is still coming of a body that nobody wants, as far as that is
/// little: a socket that is closed with something unread in it takes back what was
/// said last.
pub(super) fn pass_over(stream: &mut impl Timed, held: &mut Vec<u8>, bytes: u64) {
    let mut left = bytes.saturating_sub(held.len() as u64).min(PASSED_OVER_MAX);
    held.clear();
    let mut piece = vec![0; PIECE];
    while left > 0 && stream.limit(PASSING_TIME).is_ok() {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count as u64),
        }
    }
}

/// Octets of a body that are passed over, and how long the next of them may take.
const PASSED_OVER_MAX: u64 = 1 << 20;
const PASSING_TIME: Duration = Duration::from_secs(1);
/// How long a sender may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
