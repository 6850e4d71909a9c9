//! SNTP packets, as a client writes and reads them.
//!
//! Never believes an answer that does not repeat the random number of our
//! question in the place of its time, nor one from a server that says itself
//! that it does not know the time. Any bytes are read without a panic.
//!
//! Read first: RFC 5905, its packet header; RFC 8633 on what a client should
//! not give away.

use std::time::Duration;

/// Octets of a packet without extensions.
pub const PACKET_BYTES: usize = 48;
/// Seconds from the first of January 1900 to that of 1970.
const EPOCH: u64 = 2_208_988_800;
/// Second 0 of the era that begins in 2036.
const ERA: u64 = 1 << 32;
/// No leap warning, version 4, client.
const CLIENT: u8 = 0b00_100_011;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// When our question came and its answer left, since 1970 by its clock.
    Time {
        /// Our question came.
        received: Duration,
        /// The answer left.
        sent: Duration,
    },
    /// It does not want to be asked so often, or at all.
    Refused,
}

/// A question; `number` is random and stands where our clock would.
pub fn question(number: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = CLIENT;
    packet[40..].copy_from_slice(&number.to_be_bytes());
    packet
}

/// Reads a packet; `None` if it is no answer to the question with `number`, or
/// from a server that does not know the time.
pub fn answer(packet: &[u8], number: u64) -> Option<Answer> {
    let fixed: &[u8; PACKET_BYTES] = packet.get(..PACKET_BYTES)?.try_into().ok()?;
    let (leap, version, mode) = (fixed[0] >> 6, fixed[0] >> 3 & 7, fixed[0] & 7);
    if mode != 4 || !(3..=4).contains(&version) || fixed[24..32] != number.to_be_bytes() {
        return None;
    }
    match fixed[1] {
        0 => return Some(Answer::Refused),
        1..=15 if leap != 3 => {}
        _ => return None,
    }
    Some(Answer::Time { received: time(&fixed[32..40])?, sent: time(&fixed[40..])? })
}

/// Since 1970; none where nothing stands, or a time before.
fn time(eight: &[u8]) -> Option<Duration> {
    let both = u64::from_be_bytes(eight.try_into().ok()?);
    let (seconds, fraction) = (both >> 32, both & 0xffff_ffff);
    // The first half of the numbers is the era behind 2036.
    let seconds = if seconds < ERA / 2 { seconds + ERA } else { seconds };
    let nanos = (fraction * 1_000_000_000) >> 32;
    Some(Duration::new(seconds.checked_sub(EPOCH)?, nanos as u32)).filter(|_| both != 0)
}

/// The answer as a server would write it, for tests of what reads it.
#[cfg(test)]
pub(crate) fn packet(answer: Answer, number: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = 0b00_100_100;
    packet[24..32].copy_from_slice(&number.to_be_bytes());
    if let Answer::Time { received, sent } = answer {
        packet[1] = 2;
        for (time, at) in [(received, 32), (sent, 40)] {
            let seconds = (time.as_secs() + EPOCH) % ERA;
            let fraction = ((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000) + 1;
            packet[at..at + 8].copy_from_slice(&(seconds << 32 | fraction).to_be_bytes());
        }
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Answer {
        let sent = Duration::new(seconds, 250_000_000);
        Answer::Time { received: Duration::new(seconds, 0), sent }
    }

    fn read(packet: &[u8]) -> Option<(u64, u32)> {
        match answer(packet, 7)? {
            Answer::Time { sent, .. } => Some((sent.as_secs(), sent.subsec_millis())),
            Answer::Refused => None,
        }
    }

    #[test]
    fn times_are_read_in_both_eras() {
        assert_eq!(read(&packet(at(1_800_000_000), 7)), Some((1_800_000_000, 250)));
        assert_eq!(read(&packet(at(2_085_978_496), 7)), Some((2_085_978_496, 250)), "2036");
        assert_eq!(read(&packet(at(3_000_000_000), 7)), Some((3_000_000_000, 250)), "2065");
    }

    #[test]
    fn what_answers_nobody_or_knows_no_time_is_none() {
        let good = packet(at(1_800_000_000), 7);
        assert_eq!(answer(&good, 8), None, "another question's");
        let changed = |at: usize, to: u8| {
            let mut packet = good;
            packet[at] = to;
            answer(&packet, 7)
        };
        assert_eq!(changed(0, CLIENT), None, "a question");
        assert_eq!(changed(0, 0b11_100_100), None, "not synchronized");
        assert_eq!(changed(0, 0b00_010_100), None, "an old version");
        assert_eq!(changed(1, 16), None, "not synchronized");
        assert_eq!(changed(1, 0), Some(Answer::Refused));
        let mut empty = good;
        empty[40..].fill(0);
        assert_eq!(answer(&empty, 7), None, "no time");
        assert_eq!(changed(40, 0x81), None, "1968");
        for end in 0..PACKET_BYTES {
            assert_eq!(answer(&good[..end], 7), None, "{end} octets");
        }
    }

    #[test]
    fn a_question_gives_nothing_away() {
        let packet = question(0x0102_0304_0506_0708);
        assert_eq!(packet[0], 0x23);
        assert!(packet[1..40].iter().all(|octet| *octet == 0));
        assert_eq!(packet[40..], [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
