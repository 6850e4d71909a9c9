//! What the daemon says of itself: the question that PID 1 puts to its status
//! socket, and what counts as a good answer.
//!
//! The status is made by a step of every shard, so whoever answers has its
//! queue mapped and its delivery loop ticking. A missing cable is no failure.
//! Never opens the socket.

use std::time::Duration;

/// The question, one connection each.
pub const QUESTION: &[u8] =
    b"GET /v1/status HTTP/1.1\r\nHost: ringpost\r\nConnection: close\r\n\r\n";
/// Bytes of an answer that are looked at.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;

/// How the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers, and its storage works.
    Good,
    /// It answers that its storage has failed.
    StorageFailed,
    /// It answers nothing that could be understood.
    Unclear,
}

/// How long the daemon may be without a good answer before it counts as hung.
pub const HUNG_TIME: Duration = Duration::from_secs(120);

/// What is done about a daemon that gives no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// It may still come.
    Wait,
    /// It has hung: end it, and start another.
    Kill,
    /// The image has never had one that was well, and another is waiting.
    Reboot,
}

/// What is done after so long without a good answer. An image that has not
/// proved itself gets no second daemon: that would keep the mail waiting for the
/// one before it.
pub fn cure(silent: Duration, is_proven: bool) -> Cure {
    match (silent >= HUNG_TIME, is_proven) {
        (false, _) => Cure::Wait,
        (true, true) => Cure::Kill,
        (true, false) => Cure::Reboot,
    }
}

/// Reads an answer to [`QUESTION`].
pub fn read(answer: &[u8]) -> Health {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Health::Unclear };
    if !head.starts_with("HTTP/1.1 200 ") {
        return Health::Unclear;
    }
    match number_after(body, "\"storage_failed\":") {
        Some(0) => Health::Good,
        Some(_) => Health::StorageFailed,
        None => Health::Unclear,
    }
}

fn number_after(body: &str, key: &str) -> Option<u64> {
    let (_, rest) = body.split_once(key)?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Health {
        read(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}").as_bytes())
    }

    #[test]
    fn a_status_with_working_storage_is_good() {
        assert_eq!(answer("{\"shards\":1,\"storage_failed\":0,\"draining\":false}"), Health::Good);
        assert_eq!(answer("{\"storage_failed\": 0}"), Health::Good);
        assert_eq!(answer("{\"storage_failed\":2}"), Health::StorageFailed);
    }

    #[test]
    fn a_daemon_that_hangs_is_ended_and_a_new_image_with_it() {
        let short = HUNG_TIME.checked_sub(Duration::from_millis(1)).unwrap();
        for is_proven in [false, true] {
            assert_eq!(cure(short, is_proven), Cure::Wait);
        }
        assert_eq!(cure(HUNG_TIME, true), Cure::Kill);
        assert_eq!(cure(HUNG_TIME, false), Cure::Reboot);
    }

    #[test]
    fn anything_else_is_unclear() {
        assert_eq!(answer("{}"), Health::Unclear);
        assert_eq!(answer("{\"storage_failed\":null}"), Health::Unclear);
        assert_eq!(answer("{\"storage_failed\":99999999999999999999999}"), Health::Unclear);
        let refused = "HTTP/1.1 503 no\r\n\r\n{\"storage_failed\":0}";
        assert_eq!(read(refused.as_bytes()), Health::Unclear);
        assert_eq!(read(b""), Health::Unclear);
        assert_eq!(read(&[0xff; 64]), Health::Unclear);
    }
}
