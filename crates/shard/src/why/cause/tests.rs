//! Chains of causes, from facts alone.

use super::*;

const NOW: Wall = Wall::from_millis(1_767_225_600_000);

fn at(s: u64) -> Wall {
    NOW + Duration::from_secs(s)
}

fn facts(state: State) -> Facts<'static> {
    Facts {
        now: NOW,
        state,
        hold: None,
        next_attempt: None,
        answer: None,
        under_way: String::new(),
        stopped: None,
        link: None,
        schedule: None,
        ours: None,
        look_up: LookUp::Known,
        site: None,
        ahead: 0,
        others: Vec::new(),
        speed: None,
    }
}

/// Two at once, each of them 8 s long.
fn speed() -> Option<Speed> {
    Some(Speed { service: Duration::from_secs(8), at_once: 2, paced: None, rated: None })
}

fn site() -> SiteFacts {
    SiteFacts {
        name: "mx:a".into(),
        health: Health::Up,
        down_until: None,
        reason: "refused".into(),
        source_until: None,
        paused_until: None,
        blocked: None,
        paused: false,
        open: 0,
        idle: 0,
        spent: 0,
        window: 5,
        cap: None,
        connections: Connections { limit: 20, out: 0, asked: false, recall: None },
        per_connection: 100,
        rate: None,
        pace: None,
    }
}

fn binds(facts: &Facts<'_>) -> (&'static str, Option<u64>) {
    let chain = Chain::of(facts);
    (chain.binding().cause, chain.next.map(|next| next.since(NOW).as_secs()))
}

#[test]
fn what_holds_longest_binds() {
    let mut facts = facts(State::Deferred);
    facts.next_attempt = Some(at(60));
    assert_eq!(binds(&facts), ("back-off", Some(60)));
    facts.answer = Some("451 4.7.1 Greylisted, come back".into());
    assert_eq!(binds(&facts), ("greylisted", Some(60)));
    let down = SiteFacts { health: Health::Down, down_until: Some(at(30)), ..site() };
    facts.site = Some(down.clone());
    assert_eq!(binds(&facts), ("greylisted", Some(60)), "the site is tried before that");
    facts.site = Some(SiteFacts { down_until: Some(at(300)), ..down });
    assert_eq!(binds(&facts), ("site-down", Some(300)));
    assert_eq!(Chain::of(&facts).links.len(), 2, "both are told");
    facts.stopped = Some((Some(at(100)), "stopped".into()));
    assert_eq!(binds(&facts), ("site-down", Some(300)));
    facts.stopped = Some((None, "stopped".into()));
    assert_eq!(binds(&facts), ("suspended", None), "that ends by nobody's clock");
    facts.hold = Some(("held-by-operator", "held".into()));
    facts.state = State::Held;
    assert_eq!(binds(&facts), ("held-by-operator", None));
}

/// A retry that falls outside the window waits for the window behind it.
#[test]
fn a_window_counts_where_the_rest_ends() {
    let table: Timetable = {
        let text = "[delivery]\nschedule = { zone = \"UTC\", windows = [\"02:00-03:00\"] }\n";
        let machine = mail::Domain::parse("box.example").unwrap();
        let policy = control::Config::parse(text, &machine).unwrap().policy;
        policy.ways()[0].schedule.as_deref().unwrap().clone()
    };
    let mut facts = facts(State::Ready);
    facts.schedule = Some(&table);
    assert_eq!(binds(&facts), ("schedule", Some(7_200)));
    facts.state = State::Deferred;
    facts.next_attempt = Some(at(9_000));
    assert_eq!(binds(&facts), ("back-off", Some(9_000)), "the window is open then");
    facts.next_attempt = Some(at(11_000));
    assert_eq!(binds(&facts), ("schedule", Some(26 * 3_600)), "the next day's");
}

#[test]
fn limits_bind_what_is_ready() {
    let mut facts = facts(State::Ready);
    facts.site = Some(site());
    assert_eq!(binds(&facts), ("turn", Some(0)));
    let full = Connections { limit: 3, out: 3, asked: true, recall: Some(at(1)) };
    facts.site = Some(SiteFacts { connections: full, paused: true, ..site() });
    assert_eq!(binds(&facts), ("connections", Some(1)));
    assert!(Chain::of(&facts).binding().words.contains("3/3"));
    let busy = SiteFacts {
        connections: full,
        open: 3,
        pace: Some((at(1), Duration::from_secs(2))),
        ..site()
    };
    facts.ahead = 10;
    facts.site = Some(busy.clone());
    assert_eq!(binds(&facts), ("connections", Some(21)));
    facts.site = Some(SiteFacts { spent: 3, ..busy.clone() });
    assert_eq!(binds(&facts), ("messages-per-connection", Some(21)));
    let shy = Connections { limit: 20, ..full };
    facts.site = Some(SiteFacts { connections: shy, window: 3, ..busy.clone() });
    assert_eq!(binds(&facts), ("concurrency", Some(21)));
    let rate =
        RateFacts { words: "6/1m".into(), held: 2, next: at(5), pace: Duration::from_secs(10) };
    facts.site = Some(SiteFacts { rate: Some(rate), ..busy });
    assert_eq!(binds(&facts), ("rate", Some(85)), "two have their tokens already");
}

#[test]
fn our_own_troubles_are_told_apart_from_theirs() {
    let mut facts = facts(State::Ready);
    facts.look_up = LookUp::Failed(at(40), "look-up failed: no answer".into());
    assert_eq!(binds(&facts), ("look-up-failed", Some(40)));
    facts.look_up = LookUp::Known;
    facts.site = Some(SiteFacts { paused_until: Some(at(1)), paused: true, ..site() });
    assert_eq!(binds(&facts), ("own-shortage", Some(1)));
    let blocked = Some("port 25 looks blocked".into());
    facts.site = Some(SiteFacts { paused_until: Some(at(9)), paused: true, blocked, ..site() });
    assert_eq!(binds(&facts), ("port-blocked", Some(9)));
    facts.site = Some(SiteFacts {
        paused_until: Some(at(60)),
        source_until: Some(at(60)),
        paused: true,
        ..site()
    });
    assert_eq!(binds(&facts), ("source-down", Some(60)));
    facts.site = None;
    facts.ours = Some("the storage is down");
    assert_eq!(binds(&facts), ("own-shortage", None));
}

/// What a link is needed for says nothing of limits; its own time counts.
#[test]
fn a_link_that_is_not_up_binds_ready_mail() {
    let mut facts = facts(State::Ready);
    facts.site = Some(SiteFacts { paused: true, ..site() });
    facts.link = Some((None, "being raised".into()));
    assert_eq!(binds(&facts), ("link", Some(0)));
    facts.link = Some((Some(at(90)), "down".into()));
    assert_eq!(binds(&facts), ("link", Some(90)));
}

/// What is stopped has its turn behind what stands before it, and not when the
/// stop ends; the cause remains the stop.
#[test]
fn a_turn_begins_when_a_stop_ends() {
    let mut facts = facts(State::Ready);
    facts.stopped = Some((Some(at(600)), "stopped".into()));
    (facts.ahead, facts.speed) = (21, speed());
    assert_eq!(binds(&facts), ("suspended", Some(600 + 10 * 8)), "ten rounds of two");
    assert!(Chain::of(&facts).links[1].words.contains("then 21 transactions"));
    assert_eq!(Chain::of(&facts).goes, Some(at(600)));
    facts.others = vec![5, 100];
    assert_eq!(binds(&facts), ("suspended", Some(600 + 23 * 8)), "47 go before it");
    facts.stopped = Some((None, "stopped".into()));
    assert_eq!(binds(&facts), ("suspended", None));
    assert_eq!(Chain::of(&facts).goes, None);
}

/// Deferred mail that is due soon at a site that is at work for long.
#[test]
fn what_is_due_has_its_turn_behind_what_is_ready() {
    let mut facts = facts(State::Deferred);
    facts.next_attempt = Some(at(30));
    facts.site = Some(SiteFacts { open: 2, ..site() });
    (facts.ahead, facts.speed) = (4, speed());
    assert_eq!(binds(&facts), ("back-off", Some(30)), "they are gone by then");
    facts.ahead = 99;
    assert_eq!(binds(&facts), ("back-off", Some(400)), "they are not");
    let down = SiteFacts { health: Health::Down, down_until: Some(at(60)), ..site() };
    facts.site = Some(down);
    assert_eq!(binds(&facts), ("site-down", Some(60)), "that is tried first");
}

/// Where nothing has shown a pace yet, what transactions take says enough; and
/// where other shards have mail, they take turns.
#[test]
fn connections_and_what_they_take_make_a_turn() {
    let mut facts = facts(State::Ready);
    facts.site = Some(SiteFacts { open: 2, ..site() });
    (facts.ahead, facts.speed) = (9, speed());
    assert_eq!(binds(&facts), ("turn", Some(40)), "the tenth that ends");
    facts.others = vec![3];
    assert_eq!(binds(&facts), ("turn", Some(52)));
    let rate =
        RateFacts { words: "6/1m".into(), held: 0, next: at(5), pace: Duration::from_secs(10) };
    facts.site = Some(SiteFacts { rate: Some(rate), ..site() });
    assert_eq!(binds(&facts), ("rate", Some(125)));
}

#[test]
fn a_turn_that_is_behind_the_end_of_a_window_is_in_the_next_one() {
    let text = "[delivery]\nschedule = { zone = \"UTC\", windows = [\"00:00-00:10\"] }\n";
    let machine = mail::Domain::parse("box.example").unwrap();
    let policy = control::Config::parse(text, &machine).unwrap().policy;
    let mut facts = facts(State::Ready);
    facts.schedule = policy.ways()[0].schedule.as_deref();
    facts.site = Some(SiteFacts { open: 2, ..site() });
    (facts.ahead, facts.speed) = (99, speed());
    assert_eq!(binds(&facts), ("turn", Some(400)));
    facts.ahead = 199;
    assert_eq!(binds(&facts), ("turn", Some(86_400 + 200)));
}
