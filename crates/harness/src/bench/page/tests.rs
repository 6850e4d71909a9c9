//! The page as a browser's parser sees it: every tag closed, nothing fetched.

use super::*;
use crate::bench::figures::{Cost, Flow, Sample};
use crate::times::Gathering;
use std::time::Duration;

fn round(target: &str, number: u32) -> Round {
    let mut times = Gathering::new();
    (1..500).for_each(|n| times.add(Duration::from_micros(n * n)));
    let names = ["accept", "dot", "queue", "deliver", "whole"];
    Round {
        target: target.to_owned(),
        number,
        configuration: "hostname = \"<b>&\"".to_owned(),
        accepted: 499,
        promised: 499,
        arrived: 499,
        accept_seconds: 1.0,
        seconds: 1.0 + f64::from(number),
        cost: (target != CEILING).then(|| Cost { user: 9_000, system: 7_000, ..Cost::default() }),
        times: names.into_iter().map(|name| (name.to_owned(), times.times())).collect(),
        flow: Flow { bin: 100, accepted: vec![5, 9, 7], delivered: vec![1, 8, 12] },
        samples: vec![
            Sample::default(),
            Sample { at: 400, anonymous: 1 << 22, ..Sample::default() },
        ],
        ..Round::default()
    }
}

fn report(targets: &[&str]) -> BenchReport {
    let rounds = targets.iter().flat_map(|target| [round(target, 1), round(target, 2)]).collect();
    BenchReport {
        form: 1,
        scenario: "a <scenario>".to_owned(),
        about: "What & why.".to_owned(),
        plan: "messages = 5".to_owned(),
        overrides: vec!["size=\"1\"".to_owned()],
        made_at: 1_700_000_000,
        version: "0".to_owned(),
        commit: Some("0123456789abcdef".to_owned()),
        machine: Default::default(),
        disk: Default::default(),
        rounds,
    }
}

/// Tags that are open at the end, or the first that is closed out of turn.
fn unclosed(html: &str) -> Result<Vec<String>, String> {
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>').ok_or("a tag without an end")? + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '!')
            .collect();
        if tag.starts_with('!') || tag.ends_with('/') {
            continue;
        } else if tag.starts_with('/') {
            let last = open.pop();
            if last.as_deref() != Some(name.as_str()) {
                return Err(format!("</{name}> closes {last:?}"));
            }
        } else {
            open.push(name);
        }
    }
    Ok(open)
}

#[test]
fn every_tag_is_closed_in_its_turn() {
    let one = page(&[("a".to_owned(), report(&[CEILING, "ringpost", "postfix"]))]);
    assert_eq!(unclosed(&one), Ok(Vec::new()));
    let two = page(&[("a".to_owned(), report(&["x"])), ("b".to_owned(), report(&[CEILING, "x"]))]);
    assert_eq!(unclosed(&two), Ok(Vec::new()));
    assert_eq!(unclosed(&page(&[])), Ok(Vec::new()));
    assert!(unclosed("<p><b></p>").is_err(), "the check itself finds a fault");
    assert_eq!(unclosed("<p>"), Ok(vec!["p".to_owned()]));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let html = page(&[("a".to_owned(), report(&[CEILING, "ringpost", "postfix"]))]);
    for word in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("prefers-color-scheme:dark"));
    assert!(html.contains("a &lt;scenario&gt;") && html.contains("&lt;b&gt;&amp;"));
    assert!(!html.contains("NaN") && !html.contains("inf"), "numbers are numbers");
}

#[test]
fn the_page_compares_and_says_with_what_spread() {
    let html = page(&[("a".to_owned(), report(&[CEILING, "ringpost", "postfix"]))]);
    assert!(
        html.contains("<strong>1.0×</strong><span>the deliveries of postfix (0.7 to 1.5)</span>")
    );
    assert!(html.contains("all 998 promised deliveries arrived exactly once"));
    let two = page(&[("a".to_owned(), report(&["x"])), ("b".to_owned(), report(&["x"]))]);
    assert!(two.contains("These are different runs") && two.contains("b: x"));
}

#[test]
fn mail_that_was_lost_stands_before_every_figure() {
    let mut lossy = report(&["x"]);
    lossy.rounds[0].missing = 3;
    let html = page(&[("a".to_owned(), lossy)]);
    let (bad, figures) = (html.find("3 missing"), html.find("Figures"));
    assert!(bad.is_some() && bad < figures);
}

#[test]
fn days_are_counted_right() {
    assert_eq!(date(0), "1970-01-01 00:00 UTC");
    assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
    assert_eq!(date(1_700_000_000), "2023-11-14 22:13 UTC");
    assert_eq!(date(4_102_444_799), "2099-12-31 23:59 UTC");
}
