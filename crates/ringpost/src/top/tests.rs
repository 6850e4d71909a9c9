//! The screen as people see it, frame by frame, and what keys do to it.

use ratatui::crossterm::event::KeyCode as Code;
use serde_json::{Value, json};

use super::frame_text;
use super::model::{Act, Mode, ORDERS, Order, PATIENCE_MS, RATES_MAX, Top, Wish};
use super::seen::Seen;

fn site(name: &str, count: u64, state: &str, words: &str) -> Value {
    json!({ "name": name, "count": count, "ready": count / 2, "deferred": count - count / 2,
            "in_flight": 0, "held": 0, "connections": count % 7, "state": state,
            "until": null, "reason": words })
}

fn seen(uptime_ms: u64, delivered: u64) -> Seen {
    let status = json!({
        "hostname": "mail.example", "uptime_ms": uptime_ms, "storage": "ok", "draining": false,
        "free_bytes": 12_u64 << 30, "bytes": 1 << 20,
        "recipients": { "ready": 14, "deferred": 25, "in_flight": 2, "held": 0 },
        "sessions": { "in": 3, "out": 5 },
        "counters": { "messages_accepted": delivered + 7, "delivered": delivered, "deferred": 40,
                      "failed": 2, "expired": 1 },
        "by_shard": [{ "shard": 0, "cpu_ms": uptime_ms / 2, "waiting": 41 },
                     { "shard": 1, "cpu_ms": uptime_ms / 10, "waiting": 0 }],
    });
    let sites = json!({ "total": 3, "states": {}, "sites": [
        site("mx:mx1.large.example,mx2.large.example", 30, "up", ""),
        site("mx:mail.slow.example", 9, "down", "connect: connection refused"),
        site("mx:\u{1b}[31mred.example", 2, "suspended", "suspended (site): they asked"),
    ] });
    let alerts = json!({ "alerts": [{ "reason": "soon", "silenced": true }] });
    let failures = json!({ "failures": [
        { "count": 40, "event": "deferred", "sites": ["mx:mail.slow.example"], "sites_more": 0,
          "words": "451 4.7.1 <script>alert(1)</script> \u{1b}[2J try later" },
        { "count": 2, "event": "failed", "sites": ["mx:mx1.large.example", "mx:b"], "sites_more": 3,
          "words": "550 5.1.1 no such user" },
    ] });
    Seen::of(&status, &sites, &failures, &json!({ "suspensions": [] }), &alerts)
}

/// A screen that has looked twice.
fn screen() -> Top {
    let mut top = Top::default();
    top.heard(1_000, seen(60_000, 1_000));
    top.heard(2_000, seen(61_000, 1_250));
    top
}

/// The frames, each with the file that it is held against.
const FRAMES: [(&str, u16, u16, &str); 3] = [
    ("wide", 120, 24, include_str!("golden/wide.txt")),
    ("usual", 80, 24, include_str!("golden/usual.txt")),
    ("narrow", 40, 12, include_str!("golden/narrow.txt")),
];

/// Shows: A40
#[test]
fn the_screen_shows_rates_sites_load_and_failures() {
    let mut differing = String::new();
    for (name, width, height, golden) in FRAMES {
        let frame = frame_text(&screen(), width, height);
        if frame != golden {
            differing.push_str(&format!("== top/golden/{name}.txt\n{frame}"));
        }
    }
    assert!(differing.is_empty(), "these frames differ from their files:\n{differing}");
}

#[test]
fn any_size_is_drawn_and_no_control_character_gets_there() {
    for width in [1, 2, 5, 19, 40, 76, 110, 300] {
        for height in [1, 2, 3, 5, 9, 10, 20, 70] {
            let mut top = screen();
            for mode in [Mode::Looking, Mode::Filtering, Mode::Helping] {
                top.mode = mode;
                let frame = frame_text(&top, width, height);
                assert!(!frame.contains('\u{1b}'), "{width} {height}");
            }
        }
    }
    let frame = frame_text(&Top::default(), 60, 3);
    assert!(frame.starts_with("ringpost  waiting for the daemon\n"), "{frame}");
}

#[test]
fn a_daemon_that_is_away_is_waited_for_and_comes_back() {
    let mut top = screen();
    assert_eq!(top.away_ms(), None);
    top.missed(3_000, "control.sock: connection refused".into());
    assert_eq!(top.away_ms(), Some(1_000));
    let frame = frame_text(&top, 100, 24);
    assert!(frame.contains("waiting for the daemon, 1s  control.sock: connection"), "{frame}");
    assert!(frame.contains("mx:mail.slow.example"), "what was seen last stays: {frame}");
    // It is back with its counters at the beginning: no rate is made of that.
    top.heard(9_000, seen(500, 3));
    assert_eq!((top.away_ms(), top.rates.delivered.len()), (None, 1));
    top.heard(10_000, seen(1_500, 13));
    assert_eq!(top.rates.delivered.back(), Some(&10.0));
    // One that hangs says nothing at all.
    top.tick(10_000 + PATIENCE_MS);
    assert_eq!(top.away_ms(), Some(PATIENCE_MS));
}

#[test]
fn the_chosen_site_stays_chosen_when_rows_move() {
    let mut top = screen();
    assert_eq!(top.row(), Some(0));
    assert_eq!(top.key(Code::Down), Wish::Nothing);
    assert_eq!(top.chosen.as_deref(), Some("mx:mail.slow.example"));
    let mut moved = seen(62_000, 1_300);
    moved.sites.swap(0, 1);
    top.heard(3_000, moved);
    assert_eq!(top.row(), Some(0));
    top.key(Code::End);
    assert_eq!(top.row(), Some(2));
    top.key(Code::PageDown);
    assert_eq!(top.row(), Some(2), "the last row is the end");
    top.key(Code::Home);
    top.key(Code::Up);
    assert_eq!(top.row(), Some(0));
    top.heard(4_000, Seen { sites: Vec::new(), ..seen(63_000, 1_300) });
    for code in [Code::Down, Code::End, Code::Char('s'), Code::Char('f')] {
        assert_eq!((top.key(code), top.row()), (Wish::Nothing, None), "nothing to choose");
    }
    assert_eq!(top.mode, Mode::Looking);
}

/// Nothing is done without a `y`, and what is done is what was asked about.
#[test]
fn orders_are_asked_about_first() {
    for (code, act, words) in [
        ('s', Act::Suspend, "Stop delivery to mx:mail.slow.example? 9 recipients wait there. y/n"),
        ('r', Act::Resume, "Go on with delivery to mx:mail.slow.example? y/n"),
        ('f', Act::Flush, "Try the 9 recipients of mx:mail.slow.example now? y/n"),
    ] {
        let mut top = screen();
        top.key(Code::Down);
        assert_eq!(top.key(Code::Char(code)), Wish::Nothing);
        assert!(frame_text(&top, 100, 24).contains(words), "{words}");
        assert_eq!(top.key(Code::Enter), Wish::Nothing, "anything but y is no");
        assert_eq!(top.mode, Mode::Looking);
        top.key(Code::Char(code));
        // The list is another one meanwhile.
        let mut moved = seen(62_000, 1_300);
        moved.sites.reverse();
        top.heard(3_000, moved);
        let order = Order { act, site: "mx:mail.slow.example".into(), count: 9 };
        assert_eq!(top.key(Code::Char('y')), Wish::Do(order));
        top.told(4_000, "Done.".into());
        assert!(frame_text(&top, 100, 24).ends_with("Done.\n"));
        top.tick(60_000);
        assert_eq!(top.said(), None);
    }
}

#[test]
fn filter_order_and_help_follow_the_keys() {
    let mut top = screen();
    let keys = |top: &mut Top, text: &str| {
        text.chars().for_each(|letter| assert!(top.key(Code::Char(letter)) != Wish::Quit));
    };
    keys(&mut top, "/slqow");
    assert_eq!((&*top.filter, &top.mode), ("slqow", &Mode::Filtering));
    assert!(frame_text(&top, 100, 24).contains(" sites 3 /slqow_ "));
    for _ in 0..3 {
        assert_eq!(top.key(Code::Backspace), Wish::Look);
    }
    assert_eq!(top.key(Code::Enter), Wish::Nothing);
    assert_eq!((&*top.filter, &top.mode), ("sl", &Mode::Looking));
    keys(&mut top, &format!("/{}", "x".repeat(200)));
    assert_eq!(top.filter.chars().count(), 80);
    assert_eq!(top.key(Code::Esc), Wish::Look);
    assert_eq!((&*top.filter, &top.mode), ("", &Mode::Looking));
    for order in ORDERS.iter().cycle().skip(1).take(ORDERS.len()) {
        assert_eq!(top.key(Code::Char('o')), Wish::Look);
        assert_eq!(top.sort, *order);
    }
    top.key(Code::Char('O'));
    assert_eq!(Some(&top.sort), ORDERS.last());
    top.key(Code::Char('?'));
    assert!(frame_text(&top, 80, 24).contains("stop delivery to the chosen site"));
    assert_eq!(top.key(Code::Char('q')), Wish::Nothing, "any key goes back");
    assert_eq!(top.key(Code::Char('q')), Wish::Quit);
}

#[test]
fn rates_have_a_bound() {
    let mut top = Top::default();
    for n in 0..RATES_MAX as u64 + 10 {
        top.heard(n * 1_000, seen(n * 1_000, n * 5));
    }
    assert_eq!(top.rates.delivered.len(), RATES_MAX);
    assert_eq!(top.rates.load, [0.5, 0.1]);
    top.rates.load = (0..16).map(|shard| f64::from(shard) / 15.0).collect();
    let frame = frame_text(&top, 120, 24);
    assert!(frame.contains("load      ▁▁▂▂▃▃▄▄▅▅▆▆▇▇██ 100%"), "{frame}");
}

#[test]
fn what_is_wrong_stands_at_the_top() {
    let first = |change: fn(&mut Seen)| {
        let mut top = Top::default();
        let mut now = seen(60_000, 1);
        change(&mut now);
        top.heard(1_000, now);
        frame_text(&top, 120, 24).lines().next().map(str::to_owned).unwrap_or_default()
    };
    assert!(first(|_| {}).ends_with("1 site does not answer"));
    assert!(first(|it| it.sites.clear()).ends_with("  ok"));
    assert!(first(|it| it.alerts = vec!["queue: 12 (limit 10)".into()]).ends_with("limit 10)"));
    assert!(first(|it| it.storage = "no room".into()).ends_with("NO ROOM: mail is refused"));
    assert!(first(|it| it.orders = vec!["all delivery: moving".into()]).ends_with("moving"));
}
