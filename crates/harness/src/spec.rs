//! Workloads and behaviour as people write them on a command line or in a
//! scenario: sizes, spreads over domains, rules of exchangers.
//!
//! Never guesses: what is not understood is refused with an example.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::sink::{Act, Rule, Stage, To, When};
use crate::workload::{Sizes, Spread};

/// Largest message that a size may name, in bytes.
pub const SIZE_BYTES_MAX: usize = 100 * 1_024 * 1_024;

/// A size such as `2KiB`, `5MiB` or `700`, in bytes.
///
/// # Errors
/// Not a size, or above [`SIZE_BYTES_MAX`].
pub fn bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let (digits, unit) = [("KiB", 1_024), ("MiB", 1_024 * 1_024), ("B", 1)]
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .unwrap_or((text, 1));
    let count: Option<usize> = digits.trim().parse().ok();
    let bytes = count.and_then(|count| count.checked_mul(unit)).filter(|n| *n <= SIZE_BYTES_MAX);
    bytes.ok_or_else(|| format!("{text:?} is no size such as 2KiB, at most 100MiB"))
}

/// A span such as `250ms`, `30s`, `5m` or `1h`.
///
/// # Errors
/// Not a span, or longer than a day.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span such as 250ms, 30s or 5m, at most a day");
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(unit_at);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let span = count.checked_mul(millis).filter(|ms| *ms <= 86_400_000).ok_or_else(wrong)?;
    Ok(Duration::from_millis(span))
}

impl FromStr for Sizes {
    type Err = String;

    /// `2KiB`; `1KiB..90KiB`, evenly between; `10x2KiB 3x50KiB`, by weight.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((low, high)) = text.split_once("..") {
            let (low, high) = (bytes(low)?, bytes(high)?);
            let fine = low <= high;
            return fine
                .then_some(Self::Between(low, high))
                .ok_or(format!("{text:?} is upside down"));
        }
        if !text.contains('x') {
            return Ok(Self::Fixed(bytes(text)?));
        }
        let part = |part: &str| {
            let wrong = || format!("{part:?} is no weight and size such as 10x2KiB");
            let (weight, size) = part.split_once('x').ok_or_else(wrong)?;
            Ok((weight.parse().map_err(|_| wrong())?, bytes(size)?))
        };
        let parts: Result<Vec<(u32, usize)>, String> = text.split_whitespace().map(part).collect();
        Ok(Self::Mix(parts?))
    }
}

impl FromStr for Spread {
    type Err = String;

    /// `even`, `zipf`, or `hot=90`.
    fn from_str(text: &str) -> Result<Self, String> {
        let hot = text.strip_prefix("hot=").and_then(|percent| percent.parse().ok());
        match (text, hot) {
            ("even", _) => Ok(Self::RoundRobin),
            ("zipf", _) => Ok(Self::Zipf),
            (_, Some(percent @ 0..=100)) => Ok(Self::Hot(percent)),
            _ => Err(format!("{text:?} is none of even, zipf, hot=90")),
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    /// `STAGE [@ADDRESS | DOMAIN] [WHEN] ACT`, such as
    /// `rcpt until=60s reply=450 4.7.1 Greylisted`, `dot @127.77.0.3 delay=2s`,
    /// `greeting crowded=5 reply=421 4.7.0 Too many`, `mail rate=100/1s reply=450 Slow down`.
    ///
    /// Stages: greeting, ehlo, mail, rcpt, data, content, dot, answer. When:
    /// first=N, each=N, until=SPAN, beyond=N, crowded=N, rate=N/SPAN,
    /// chance=N/M. Acts: accept, drop, reset, stall, delay=SPAN, reply=TEXT
    /// (which takes the rest).
    fn from_str(text: &str) -> Result<Self, String> {
        let (head, reply) = match text.split_once("reply=") {
            Some((head, reply)) => (head, Some(Act::Reply(reply.trim().to_owned()))),
            None => (text, None),
        };
        let mut words = head.split_whitespace();
        let stage = stage(words.next().unwrap_or_default())?;
        let mut rule = Self { stage, to: To::Any, when: When::Always, act: Act::Accept };
        let mut act = reply;
        for word in words {
            if let Some(address) = word.strip_prefix('@') {
                let address: Result<IpAddr, _> = address.parse();
                rule.to = To::Address(address.map_err(|_| format!("{word:?} is no address"))?);
            } else if let Some(found) = simple_act(word)? {
                act = Some(found);
            } else if let Some(found) = when(word)? {
                rule.when = found;
            } else if word.contains('.') && !word.contains('=') {
                rule.to = To::Domain(word.to_ascii_lowercase());
            } else {
                return Err(format!("{word:?} means nothing in the rule {text:?}"));
            }
        }
        rule.act = act.ok_or_else(|| format!("the rule {text:?} does not say what is done"))?;
        Ok(rule)
    }
}

fn stage(text: &str) -> Result<Stage, String> {
    Ok(match text {
        "greeting" => Stage::Greeting,
        "ehlo" => Stage::Ehlo,
        "mail" => Stage::Mail,
        "rcpt" => Stage::Rcpt,
        "data" => Stage::Data,
        "content" => Stage::Content,
        "dot" => Stage::Dot,
        "answer" => Stage::Answer,
        _ => {
            let stages = "greeting, ehlo, mail, rcpt, data, content, dot, answer";
            return Err(format!("{text:?} is none of the stages {stages}"));
        }
    })
}

fn simple_act(word: &str) -> Result<Option<Act>, String> {
    Ok(match word {
        "accept" => Some(Act::Accept),
        "drop" => Some(Act::Drop),
        "reset" => Some(Act::Reset),
        "stall" => Some(Act::Stall),
        _ => match word.strip_prefix("delay=") {
            Some(text) => Some(Act::Delay(span(text)?)),
            None => None,
        },
    })
}

fn when(word: &str) -> Result<Option<When>, String> {
    let Some((name, value)) = word.split_once('=') else { return Ok(None) };
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{word:?} lacks a number"));
    let pair = || value.split_once('/').ok_or_else(|| format!("{word:?} lacks its second part"));
    Ok(Some(match name {
        "first" => When::First(number(value)?),
        "each" => When::FirstOfEach(number(value)?),
        "until" => When::Until(span(value)?),
        "beyond" => When::Beyond(number(value)?),
        "crowded" => When::Crowded(number(value)?),
        "rate" => {
            let (count, each) = pair()?;
            When::BeyondRate { count: number(count)?, span: span(each)? }
        }
        "chance" => {
            let (parts, whole) = pair()?;
            let whole = number(whole)?;
            let parts = number(parts)?.min(whole);
            if whole == 0 {
                return Err(format!("{word:?} divides by nothing"));
            }
            When::Chance { parts, whole }
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_each_form() {
        assert_eq!("2KiB".parse(), Ok(Sizes::Fixed(2_048)));
        assert_eq!("700".parse(), Ok(Sizes::Fixed(700)));
        assert_eq!("1KiB..5MiB".parse(), Ok(Sizes::Between(1_024, 5 << 20)));
        assert_eq!("9x2KiB 1x1MiB".parse(), Ok(Sizes::Mix(vec![(9, 2_048), (1, 1 << 20)])));
        for wrong in ["", "2KB", "101MiB", "5KiB..1KiB", "ax2KiB", "99999999999999999999", "-1"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn spreads_and_spans_are_read_or_refused() {
        assert_eq!("zipf".parse(), Ok(Spread::Zipf));
        assert_eq!("hot=90".parse(), Ok(Spread::Hot(90)));
        assert!("hot=101".parse::<Spread>().is_err());
        assert!("".parse::<Spread>().is_err());
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(span("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in ["25h", "5", "m", "1d", "5 s", "99999999999999999999s"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rules_say_where_for_whom_when_and_what() {
        let rule = |text: &str| text.parse::<Rule>();
        assert_eq!(
            rule("rcpt until=60s reply=450 4.7.1 Greylisted, come back"),
            Ok(Rule::reply(Stage::Rcpt, "450 4.7.1 Greylisted, come back")
                .when(When::Until(Duration::from_secs(60))))
        );
        let slow = Rule::new(Stage::Dot, Act::Delay(Duration::from_secs(2)));
        assert_eq!(rule("dot @127.77.0.3 delay=2s"), Ok(slow.at([127, 77, 0, 3])));
        let fast = When::BeyondRate { count: 100, span: Duration::from_secs(1) };
        assert_eq!(rule("mail rate=100/1s stall").map(|rule| rule.when), Ok(fast));
        let crowded = rule("greeting crowded=5 reply=421 4.7.0 Too many").unwrap();
        assert_eq!((crowded.when, crowded.stage), (When::Crowded(5), Stage::Greeting));
        let domain = rule("dot d001.example drop").unwrap();
        assert_eq!(domain.to, To::Domain("d001.example".to_owned()));
        for wrong in
            ["", "dot", "dto drop", "dot sometimes drop", "dot chance=1/0 drop", "dot @x drop"]
        {
            assert!(rule(wrong).is_err(), "{wrong}");
        }
    }
}
