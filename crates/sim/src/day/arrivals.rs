//! The mail of a day: when each message comes, to whom, and how large it is. A
//! daily curve with its low and its high, and three mailings that come within
//! minutes; recipients by their domains' shares; sizes as mail has them.
//!
//! Never decides what becomes of it.

use std::time::Duration;

use base::Rng;
use mail::{Address, Envelope, Recipient, ReversePath};
use smtp::submission::Received;

use super::stage::Stage;

/// One message to come.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    /// From the day's beginning on.
    pub(super) at: Duration,
    pub(super) to: String,
    /// Its domain, by number.
    pub(super) target: usize,
    lines: u32,
}

/// Parts of a thousand of the day at which mailings begin.
const MAILINGS: [u64; 3] = [150, 420, 700];
/// Of a thousand messages so many come with one of the mailings.
const MAILED: u64 = 420;
/// What handing a mailing in takes.
const MAILING_MS: u64 = 180_000;
/// Octets of a line of content.
const LINE: &str = "Words of a message, of which there are fewer than of others, to its end.\r\n";

/// All messages of a day of this length, in order.
pub(super) fn of_a_day(stage: &Stage, length: Duration, count: u32, rng: &mut Rng) -> Vec<Coming> {
    let day_ms = length.as_millis() as u64;
    let mut all: Vec<Coming> = (0..count)
        .map(|number| {
            let at_ms = if rng.chance(MAILED, 1_000) {
                let mailing = MAILINGS[rng.below(MAILINGS.len() as u64) as usize];
                day_ms / 1_000 * mailing + rng.below(MAILING_MS)
            } else {
                by_the_curve(day_ms, rng)
            };
            let target = by_share(stage, rng);
            let kind = match rng.below(200) {
                0 => "no-",
                1 => "later-",
                _ => "",
            };
            let to = format!("{kind}u{number}@{}", stage.targets[target].name);
            Coming { at: Duration::from_millis(at_ms), to, target, lines: lines(rng) }
        })
        .collect();
    all.sort_by_key(|coming| coming.at);
    all
}

/// A moment of the day: four times as much at its height as at its ends.
fn by_the_curve(day_ms: u64, rng: &mut Rng) -> u64 {
    loop {
        let at = rng.below(day_ms);
        let of_half = at.min(day_ms - at) * 2_000 / day_ms;
        if rng.below(1_000) < 250 + of_half * 750 / 1_000 {
            return at;
        }
    }
}

fn by_share(stage: &Stage, rng: &mut Rng) -> usize {
    let sum: u32 = stage.targets.iter().map(|target| target.weight).sum();
    let mut draw = rng.below(u64::from(sum)) as u32;
    let taken = stage.targets.iter().position(|target| match draw.checked_sub(target.weight) {
        Some(rest) => {
            draw = rest;
            false
        }
        None => true,
    });
    taken.expect("the draw is below the sum")
}

/// Most mail is short, some is long.
fn lines(rng: &mut Rng) -> u32 {
    match rng.below(20) {
        0 => 400,
        1..=3 => 120,
        _ => 5 + rng.below(40) as u32,
    }
}

impl Coming {
    /// The message itself; nobody hears of its end.
    pub(super) fn letter(&self) -> Box<Received> {
        let to = Address::parse(&self.to, false).expect("an address");
        let envelope = Envelope::new(ReversePath::Null, vec![Recipient::new(to)]);
        let head = format!("From: a@from.example\r\nTo: {}\r\nSubject: a day\r\n\r\n", self.to);
        let text = head + &LINE.repeat(self.lines as usize);
        smtp::direct::received(envelope, text.as_bytes(), 1 << 20).expect("a good message")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_busier_at_its_height_and_busiest_when_a_mailing_comes() {
        let (stage, length) = (Stage::draw(), Duration::from_secs(6 * 3_600));
        let all = of_a_day(&stage, length, 4_000, &mut Rng::new(3));
        let within = |from: u64, to: u64| {
            let minute = |n: u64| Duration::from_secs(60 * n);
            all.iter().filter(|it| (minute(from)..minute(to)).contains(&it.at)).count()
        };
        assert_eq!(all.len(), 4_000);
        assert!(within(170, 200) > 2 * within(0, 30), "the height and the night");
        assert!(within(54, 57) > 10 * within(20, 23), "a mailing");
        let big = all.iter().filter(|it| it.to.ends_with("@big.example")).count();
        assert!(big > 400, "the largest provider has its share: {big}");
    }
}
