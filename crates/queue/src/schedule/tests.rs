//! Stories of many: fairness, connections, waits as one.

use super::*;
use crate::resolve::RESOLUTION_MS_MIN;
use crate::story::{ANSWER_LIFE, HOUR, LIFETIME, SECOND, Story, hop};
use crate::{EntryKey, Health, Phase, Take, When};

/// Names of the destinations of the next `n` transactions.
fn turns(story: &mut Story, site: SiteKey, n: usize) -> Vec<String> {
    let batches: Vec<_> = (0..n).filter_map(|_| story.next(site)).collect();
    batches.into_iter().map(|(batch, _)| story.name(batch)).collect()
}

/// Covers: B54
#[test]
fn destinations_take_turns() {
    let mut story = Story::new();
    story.mails("bulk", 6);
    story.mails("few", 2);
    let site = story.connections("site", 1)[0];
    story.take(site, Phase::Dispatched);
    assert_eq!(turns(&mut story, site, 9), ["few", "bulk", "few", "bulk", "bulk", "bulk", "bulk"]);
}

/// Ten urgent messages behind a hundred thousand: each waits for one
/// transaction of the crowd, not for the crowd.
///
/// Covers: B54, B55
#[test]
fn a_crowd_does_not_starve_a_few() {
    let mut story = Story::new();
    story.mails("bulk", 100_000);
    let site = story.connections("site", 1)[0];
    story.take(site, Phase::Dispatched);
    let few: Vec<EntryKey> = story.mails("few", 10);
    assert_eq!(story.connections("site", 1), []);
    let served = (0..21).filter_map(|_| story.next(site)).flat_map(|(_, keys)| keys);
    let served: Vec<EntryKey> = served.filter(|key| few.contains(key)).collect();
    assert_eq!(served, few);
}

#[test]
fn urgent_mail_goes_first_three_to_one() {
    let mut story = Story::new();
    let bulk: Vec<EntryKey> = story.mails("mx:a", 3);
    let mut urgent = Vec::new();
    for _ in 0..8 {
        let mut new = story.new_mail();
        new.urgent = true;
        urgent.push(story.put("mx:a", &new, When::Now));
    }
    let site = story.connections("site", 1)[0];
    let mut order = story.take(site, Phase::Dispatched).1;
    while let Some((_, keys)) = story.next(site) {
        order.extend(keys);
    }
    let (b, u) = (bulk, urgent);
    assert_eq!(order, [u[0], u[1], u[2], b[0], u[3], u[4], u[5], b[1], u[6], u[7], b[2]]);
}

/// Proves: RFC 5321 §4.5.4.1
/// Covers: A2.17
#[test]
fn recipients_of_one_message_share_a_transaction_up_to_its_bound() {
    let mut story = Story::new();
    let new = story.new_mail();
    let mut keys: Vec<EntryKey> = (0..250).map(|_| story.put("mx:a", &new, When::Now)).collect();
    let other = story.mail("mx:a");
    keys.push(story.put("mx:a", &new, When::Now));
    let site = story.connections("site", 1)[0];
    let (take, entries) = story.take(site, Phase::Dispatched);
    assert!(matches!(take, Take::Batch(batch) if batch.message == new.message));
    assert_eq!(entries, keys[..100]);
    assert_eq!(story.next(site).unwrap().1, keys[100..200]);
    assert_eq!(story.next(site).unwrap().1, keys[200..250]);
    assert_eq!(story.next(site).unwrap().1, [other], "only what stands together");
    assert_eq!(story.next(site).unwrap().1, keys[250..]);
}

#[test]
fn a_site_opens_as_many_connections_as_its_mail_and_window_want() {
    let mut story = Story::new();
    story.mails("mx:a", 2);
    assert_eq!(story.connections("site", 20).len(), 2, "one for each message");
    story.mails("mx:b", 50);
    let site = story.connections("site", 20)[0];
    assert_eq!(story.queue.site(site).unwrap().open, 5, "the first window");
    assert_eq!(story.connections("site", 20), []);
    for _ in 0..5 {
        assert!(matches!(story.take(site, Phase::Dispatched).0, Take::Batch(_)));
        story.queue.site_succeeded(site);
    }
    assert_eq!(story.connections("site", 20), [site], "a window of successes adds one");
    assert_eq!(story.queue.site(site).unwrap().window, 6);
}

/// 50 domains behind one MX set keep one limit together.
/// Proves: RFC 5321 §4.5.4.1
/// Covers: A2.17
#[test]
fn destinations_of_a_site_share_its_limit() {
    let mut story = Story::new();
    for n in 0..50 {
        story.mails(&format!("mx:{n}.example"), 3);
    }
    let site = story.connections("one MX set", 7)[0];
    for _ in 0..5 {
        story.take(site, Phase::Dispatched);
    }
    for _ in 0..1_000 {
        story.queue.site_succeeded(site);
        for site in story.connections("one MX set", 7) {
            story.take(site, Phase::Dispatched);
        }
    }
    let view = story.queue.site(site).unwrap();
    assert_eq!((view.open, view.window, view.limit), (7, 7, 7));
}

/// A peer that says "too many connections" gets half of them, not none: only
/// as many are told to close as are too many.
///
/// Covers: B53
#[test]
fn a_shrunken_window_closes_just_what_is_too_much() {
    let mut story = Story::new();
    story.mails("mx:a", 100);
    let site = story.connections("site", 4)[0];
    for _ in 0..4 {
        story.take(site, Phase::Dispatched);
    }
    story.queue.site_slowed(site, "421 too many connections");
    let told = (0..4).filter(|_| story.take(site, Phase::Busy).0 == Take::Close).count();
    assert_eq!((told, story.queue.site(site).unwrap().window), (2, 2));
    for _ in 0..told {
        story.queue.connection_closed(site, Phase::Closing);
    }
    assert_eq!(story.work(), [], "and they are not opened again");
    assert_eq!(story.queue.site(site).unwrap().open, 2);
}

#[test]
fn idle_connections_are_used_before_new_ones_are_opened() {
    let mut story = Story::new();
    let first = story.mail("mx:a");
    let site = story.connections("site", 20)[0];
    story.take(site, Phase::Dispatched);
    story.queue.done(first);
    assert_eq!(story.take(site, Phase::Busy).0, Take::Nothing);
    story.queue.connection_idle(site);
    story.mails("mx:a", 2);
    assert_eq!(story.work(), [Work::Use(site), Work::Open(site)]);
    // The idle one had been closed by the peer in this very moment.
    story.queue.connection_closed(site, Phase::Dispatched);
    assert_eq!(story.work(), [Work::Open(site)]);
}

/// An idle connection is one too many as well when the window has shrunk.
///
/// Covers: B53
#[test]
fn idle_connections_do_not_get_around_a_shrunken_window() {
    let mut story = Story::new();
    story.mails("mx:a", 4);
    let site = story.connections("site", 4)[0];
    (0..4).for_each(|_| assert_eq!(story.take(site, Phase::Dispatched).1.len(), 1));
    (0..2).for_each(|_| story.queue.connection_idle(site));
    story.queue.site_slowed(site, "421 too many connections");
    assert_eq!(story.queue.site(site).unwrap().window, 1);
    story.mails("mx:a", 4);
    assert_eq!(story.work(), []);
    (0..2).for_each(|_| story.queue.connection_closed(site, Phase::Busy));
    assert_eq!(story.work(), [Work::Use(site)]);
}

/// A connection that is saying goodbye gets no more mail, and counts until it
/// is gone.
#[test]
fn an_idle_connection_that_leaves_is_not_used_any_more() {
    let mut story = Story::new();
    let first = story.mail("mx:a");
    let site = story.connections("site", 1)[0];
    story.take(site, Phase::Dispatched);
    story.queue.done(first);
    story.queue.connection_idle(site);
    story.queue.connection_leaving(site);
    story.mail("mx:a");
    assert_eq!(story.work(), [], "one is the limit, and it stands still");
    story.queue.connection_closed(site, Phase::Closing);
    assert_eq!(story.work(), [Work::Open(site)]);
}

/// Permits are short: no more connections than there are permits, and the
/// window is as wide as before when they come.
#[test]
fn a_cap_holds_and_leaves_the_window_alone() {
    let mut story = Story::new();
    story.mails("mx:a", 10);
    let site = story.connections("site", 20)[0];
    assert_eq!(story.queue.site(site).unwrap().open, 5);
    (0..3).for_each(|_| story.queue.connection_closed(site, Phase::Dispatched));
    story.queue.cap_connections(site, Some(2));
    assert_eq!(story.connections("site", 20), []);
    assert_eq!(story.queue.site(site).unwrap().window, 5);
    assert!(matches!(story.take(site, Phase::Dispatched).0, Take::Batch(_)));
    story.queue.cap_connections(site, None);
    assert_eq!(story.work(), [Work::Open(site); 3]);
}

/// The look-up has grown old while a host was tried: the mail that the
/// connection was opened for bears the attempt all the same.
#[test]
fn mail_bears_an_attempt_that_outlived_its_look_up() {
    let mut story = Story::new();
    let keys = story.mails("mx:a", 2);
    let site = story.connections("site", 1)[0];
    story.after(ANSWER_LIFE);
    let mut blamed = Vec::new();
    let batch = story.queue.take_blamed(site, Phase::Dispatched, 10, &mut blamed);
    assert!(batch.is_some());
    assert_eq!(blamed, [keys[0]]);
    story.queue.connection_closed(site, Phase::Busy);
    story.queue.site_failed(story.now.mono, site, story.mono_in(HOUR), "refused");
    assert_eq!(story.state(keys[0]), State::InFlight);
    assert_eq!(story.state(keys[1]), State::Ready);
}

/// A site that is down waits as one: a hundred thousand messages cost a
/// handful of wake-ups for each probe, however long it lasts.
///
/// Covers: A2.19, B55
#[test]
fn a_dead_site_costs_one_wake_up_a_probe() {
    let mut story = Story::new();
    let new = story.new_mail();
    for _ in 0..100_000 {
        story.put("mx:dead", &new, When::Now);
    }
    let site = story.connections("dead", 20)[0];
    // All five of the first window are refused; only the last makes it down.
    for left in (0..5).rev() {
        story.queue.connection_closed(site, Phase::Dispatched);
        let health =
            story.queue.site_failed(story.now.mono, site, story.mono_in(SECOND * 60), "refused");
        assert_eq!(health, if left == 0 { Health::Down } else { Health::Up });
        assert_eq!(story.work(), []);
    }
    for probe in 1..=20u32 {
        let looked_at = story.queue.work_looked_at();
        let down_until = story.queue.site(site).unwrap().down_until.unwrap();
        let mut wake_ups = 0;
        while story.now.mono < down_until {
            let next = story.queue.next_deadline().unwrap().min(down_until);
            let span = next.since(story.now.mono);
            assert_eq!(story.after(span.as_millis() as u64), []);
            wake_ups += 1;
        }
        assert!(wake_ups <= 8, "{wake_ups}");
        assert_eq!(story.work(), [Work::Open(site)], "one connection probes");
        story.queue.connection_closed(site, Phase::Dispatched);
        story.queue.site_failed(story.now.mono, site, story.mono_in(SECOND * 60), "refused");
        assert_eq!(story.work(), []);
        assert!(story.queue.work_looked_at() - looked_at <= 3);
        assert_eq!(story.queue.site(site).unwrap().failures, 5 + probe);
    }
    assert_eq!(story.queue.counts().ready, 100_000, "no attempt was counted");
}

#[test]
fn a_site_that_is_back_starts_small() {
    let mut story = Story::new();
    story.mails("mx:a", 50);
    let site = story.connections("site", 20)[0];
    (0..5).for_each(|_| story.queue.connection_closed(site, Phase::Dispatched));
    story.queue.site_failed(story.now.mono, site, story.mono_in(HOUR), "refused");
    story.after(HOUR);
    assert_eq!(story.work(), [Work::Open(site)]);
    assert_eq!(story.queue.site(site).unwrap().health, Health::Probing);
    assert!(matches!(story.take(site, Phase::Dispatched).0, Take::Batch(_)));
    story.queue.site_succeeded(site);
    assert_eq!(story.work(), [Work::Open(site)]);
    let view = story.queue.site(site).unwrap();
    assert_eq!((view.health, view.window, view.failures), (Health::Up, 2, 0));
}

#[test]
fn a_flush_beats_the_wait_of_a_site_and_of_a_look_up() {
    let mut story = Story::new();
    let key = story.mail("mx:a");
    let site = story.connections("site", 20)[0];
    story.queue.connection_closed(site, Phase::Dispatched);
    story.queue.site_failed(story.now.mono, site, story.mono_in(HOUR), "refused");
    assert_eq!(story.work(), []);
    story.queue.flush(key);
    assert_eq!(story.work(), [Work::Open(site)]);

    let lost = story.mail("mx:lost");
    let [Work::Resolve(destination)] = story.work()[..] else { panic!() };
    story.queue.resolve_failed(destination, story.mono_in(HOUR), "SERVFAIL");
    assert_eq!(story.work(), []);
    story.queue.flush(lost);
    assert_eq!(story.work(), [Work::Resolve(destination)]);
}

/// A wait on a limit is one wake-up for each free slot, not a look at every
/// message a minute.
#[test]
fn a_wait_for_permits_costs_one_look_a_permit() {
    let mut story = Story::new();
    let new = story.new_mail();
    for _ in 0..10_000 {
        story.put("mx:a", &new, When::Now);
    }
    let site = story.connections("site", 20)[0];
    story.queue.pause(site, None);
    (0..5).for_each(|_| story.queue.connection_closed(site, Phase::Dispatched));
    assert_eq!(story.work(), []);
    let before = story.queue.work_looked_at();
    story.mail("mx:a");
    story.after(HOUR);
    assert_eq!((story.work(), story.queue.work_looked_at()), (vec![], before));
    for permits in 1..=4 {
        story.queue.resume(site);
        assert_eq!(story.queue.poll_work(story.now), Some(Work::Open(site)));
        story.queue.pause(site, None);
        assert_eq!(story.work(), []);
        assert!(story.queue.work_looked_at() - before <= 2 * permits);
    }
}

#[test]
fn a_rate_is_waited_for_by_one_timer() {
    let mut story = Story::new();
    story.mails("mx:a", 100);
    let site = story.connections("site", 20)[0];
    assert!(matches!(story.take(site, Phase::Dispatched).0, Take::Batch(_)));
    story.queue.pause(site, Some(story.mono_in(SECOND)));
    assert_eq!(story.take(site, Phase::Busy).0, Take::Nothing);
    story.queue.connection_idle(site);
    story.after(SECOND - 1);
    assert_eq!(story.work(), []);
    story.after(1);
    assert_eq!(story.work(), [Work::Use(site)]);
}

#[test]
fn mail_without_an_answer_waits_as_one_and_is_asked_for_again() {
    let mut story = Story::new();
    story.mails("mx:lame", 1_000);
    let [Work::Resolve(destination)] = story.work()[..] else { panic!() };
    story.queue.resolve_failed(destination, story.mono_in(HOUR), "SERVFAIL");
    story.mail("mx:lame");
    story.after(HOUR - 1);
    assert_eq!(story.work(), []);
    story.after(1);
    assert_eq!(story.work(), [Work::Resolve(destination)]);
    assert_eq!(story.queue.counts().ready, 1_001);
}

#[test]
fn rejected_mail_comes_back_in_steps_and_later_mail_asks_again() {
    let mut story = Story::new();
    let keys: Vec<EntryKey> = story.mails("mx:none", 25);
    let [Work::Resolve(destination)] = story.work()[..] else { panic!() };
    story.queue.reject(destination);
    let mut back = Vec::new();
    for step in 1..=3 {
        assert_eq!(story.work(), [Work::Reject(destination)]);
        story.queue.drain(destination, 10, &mut back);
        assert_eq!(back.len(), (10 * step).min(25));
    }
    assert_eq!(back, keys);
    assert_eq!(story.work(), []);
    story.mail("mx:none");
    assert_eq!(story.work(), [Work::Resolve(destination)]);
}

#[test]
fn an_answer_that_is_out_of_date_is_asked_for_before_mail_is_taken() {
    let mut story = Story::new();
    story.mails("mx:a", 9);
    let site = story.connections("old site", 1)[0];
    assert!(matches!(story.take(site, Phase::Dispatched).0, Take::Batch(_)));
    let destination = story.queue.find_destination(hop("mx:a")).unwrap();
    for outdate in [
        |story: &mut Story| {
            story.after(ANSWER_LIFE);
        },
        |story: &mut Story| {
            story.queue.forget_resolutions();
        },
    ] {
        assert!(matches!(story.take(site, Phase::Busy).0, Take::Batch(_)));
        outdate(&mut story);
        assert_eq!(story.take(site, Phase::Busy).0, Take::Nothing);
        assert_eq!(story.work(), [Work::Resolve(destination)]);
        story.resolve(destination, "old site", 1);
    }
    story.queue.forget_resolutions();
    let new = story.connections("new site", 1);
    assert_eq!(story.next(site), None);
    let asked = story.connections("new site", 1);
    let new = [new, asked].concat();
    assert_eq!(story.queue.site_of(destination), Some(new[0]));
    assert_eq!(story.queue.site(site).unwrap().counts.total(), 0);
    assert_eq!(story.queue.site(new[0]).unwrap().counts.total(), 9);
}

/// A time-to-live of zero must not make a destination asked for ever and
/// never served.
///
/// Covers: B81
#[test]
fn an_answer_without_a_life_serves_once_at_least() {
    let mut story = Story::new();
    story.mail("mx:a");
    let [Work::Resolve(destination)] = story.work()[..] else { panic!() };
    let site = story.queue.resolved(story.now, destination, "site", 1, story.now.mono).unwrap();
    assert_eq!(story.work(), [Work::Open(site)]);
    story.after(RESOLUTION_MS_MIN - 1);
    assert!(matches!(story.take(site, Phase::Dispatched).0, Take::Batch(_)));
}

/// Many members that are out of date are taken off a ring in bounded looks.
#[test]
fn a_change_of_routes_moves_every_destination_in_the_end() {
    let mut story = Story::new();
    for n in 0..1_000 {
        story.mail(&format!("mx:{n}"));
    }
    let old = story.connections("old", 1)[0];
    story.queue.connection_closed(old, Phase::Dispatched);
    story.queue.forget_resolutions();
    let mut new = story.connections("new", 1);
    let new = new.pop().unwrap();
    assert_eq!(story.queue.site(old).unwrap().counts.total(), 0);
    assert_eq!(story.queue.site(new).unwrap().counts.ready, 1_000);
    assert_eq!(story.after(LIFETIME).len(), 1_000);
}
