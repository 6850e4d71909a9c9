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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    use super::super::{Bodies, converse};
    use super::*;

    const MOST: u64 = 1 << 20;

    /// Takes up to a bound, and keeps what it was told.
    struct Tub {
        most: u64,
        seen: Arc<Mutex<Vec<String>>>,
        bytes: u64,
    }

    impl Takes for Tub {
        fn begin(&mut self, bytes: u64) -> Result<(), HttpResponse> {
            self.seen.lock().unwrap().push(format!("begin {bytes}"));
            if bytes > self.most { Err(HttpResponse::error(507, "no room")) } else { Ok(()) }
        }

        fn take(&mut self, piece: &[u8]) -> Result<(), HttpResponse> {
            self.bytes += piece.len() as u64;
            if piece.contains(&b'!') { Err(HttpResponse::error(422, "bad")) } else { Ok(()) }
        }

        fn end(self: Box<Self>) -> HttpResponse {
            self.seen.lock().unwrap().push(format!("end {}", self.bytes));
            HttpResponse::json(202, &serde_json::Value::Null)
        }
    }

    /// What is answered to `said`, and what was seen of it.
    fn told(said: &[u8]) -> (String, Vec<String>) {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        let serving = std::thread::spawn(move || {
            let bodies = |_: &str, _: &str| Bodies::Pieces(MOST);
            converse(&mut server, bodies, |_| {
                HttpResponse::after(Tub { most: 100_000, seen: kept.clone(), bytes: 0 })
            });
        });
        client.write_all(said).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        serving.join().unwrap();
        let seen = seen.lock().unwrap().clone();
        (answer, seen)
    }

    fn put(fields: &str, length: u64, body: &[u8]) -> Vec<u8> {
        let head = format!("PUT /x HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    #[test]
    fn a_body_is_handed_on_whole_or_not_at_all() {
        let body = vec![b'x'; 100_000];
        let (answer, seen) = told(&put("Connection: close\r\n", 100_000, &body));
        assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
        assert_eq!(seen, ["begin 100000", "end 100000"]);
        // Cut off: nothing is answered, and nothing was taken.
        let (answer, seen) = told(&put("", 100_000, &body[1..]));
        assert_eq!((answer.as_str(), &seen[..]), ("", &["begin 100000".to_owned()][..]));
        // Refused before, and within; the connection ends behind the answer.
        let (answer, seen) = told(&put("", 100_001, &body));
        assert!(answer.starts_with("HTTP/1.1 507 ") && answer.contains("Connection: close"));
        assert_eq!(seen, ["begin 100001"]);
        let bad = [&body[..500], b"!"].concat();
        assert!(told(&put("", 501, &bad)).0.starts_with("HTTP/1.1 422 "));
        assert!(told(&put("", MOST + 1, b"")).0.starts_with("HTTP/1.1 413 "));
        // What comes behind it is the next request.
        let two = [put("", 3, b"abc"), put("Connection: close\r\n", 2, b"de")].concat();
        let (answer, seen) = told(&two);
        assert_eq!(answer.matches("HTTP/1.1 202 ").count(), 2, "{answer}");
        assert_eq!(seen, ["begin 3", "end 3", "begin 2", "end 2"]);
    }

    #[test]
    fn who_asks_first_hears_first() {
        let (answer, _) = told(&put("Expect: 100-continue\r\n", 3, b"abc"));
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 "), "{answer}");
        let (answer, _) = told(&put("Expect: 100-continue\r\n", 100_001, b""));
        assert!(answer.starts_with("HTTP/1.1 507 "), "{answer}");
    }
}
