//! Stories of single entries: their way through the states, and their end.

use std::time::Duration;

use super::*;
use crate::story::{HOUR, LIFETIME, SECOND, Story, hop};
use crate::{Due, Phase, Take, Work};

fn expired(key: EntryKey, attempt_open: bool) -> Due {
    Due::Expired { key, attempt_open }
}

/// Covers: B25
#[test]
fn a_waiting_recipient_costs_at_most_a_hundred_bytes() {
    assert_eq!(size_of::<Entry>(), 64);
    assert_eq!(BYTES_PER_ENTRY, 68 + 24);
    let destination = Slab::<Destination>::SLOT_BYTES;
    assert!(destination <= 200, "{destination} bytes a next hop");
}

#[test]
fn mail_is_looked_up_carried_and_done() {
    let mut story = Story::new();
    let key = story.mail("mx:a.example");
    let asked = story.work();
    let [Work::Resolve(destination)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(story.work(), [], "asked once");
    let site = story.resolve(destination, "site", 20);
    assert_eq!(story.work(), [Work::Open(site)]);
    let (take, entries) = story.take(site, Phase::Dispatched);
    assert!(matches!(take, Take::Batch(batch) if batch.destination == destination));
    assert_eq!(entries, [key]);
    assert_eq!(story.state(key), State::InFlight);
    assert!(story.queue.done(key));
    assert!(!story.queue.done(key), "once only");
    assert_eq!(story.queue.counts(), Counts::default());
    assert_eq!(story.take(site, Phase::Busy).0, Take::Nothing);
    story.queue.connection_idle(site);
    assert_eq!(story.queue.next_deadline(), None);
    // The next mail finds the answer and the connection still there.
    story.mail("mx:a.example");
    assert_eq!(story.work(), [Work::Use(site)]);
}

/// The lifetime is a timer of the entry, not of a list it stands in (mail that
/// was stuck in a ready list for days is a well-known failure of queues).
///
/// Covers: B60
#[test]
fn the_lifetime_ends_in_every_state_on_its_millisecond() {
    let mut story = Story::new();
    let unresolved = story.mail("mx:unresolved.example");
    let resolving = story.mail("mx:resolving.example");
    let failed = story.mail("mx:failed.example");
    let [_, Work::Resolve(_), Work::Resolve(third)] = story.work()[..] else { panic!() };
    story.queue.resolve_failed(third, story.mono_in(2 * LIFETIME), "SERVFAIL");

    let down = story.mail("mx:down.example");
    let site = story.connections("down", 20)[0];
    story.queue.connection_closed(site, Phase::Dispatched);
    story.queue.site_failed(story.now.mono, site, story.mono_in(2 * LIFETIME), "refused");

    let paused = story.mail("mx:paused.example");
    let site = story.connections("paused", 20)[0];
    story.queue.pause(site, None);
    assert_eq!(story.take(site, Phase::Dispatched).0, Take::Nothing);

    let deferred = story.mail("mx:busy.example");
    let in_flight = story.mail("mx:busy.example");
    let site = story.connections("busy", 20)[0];
    assert_eq!(story.take(site, Phase::Dispatched).1, [deferred]);
    assert_eq!(story.next(site).unwrap().1, [in_flight]);
    story.defer(deferred, 2 * LIFETIME);
    let held = story.mail("mx:busy.example");
    story.queue.hold(held);

    assert_eq!(story.after(LIFETIME - 1), []);
    let mut due = story.after(1);
    let key = |due: &Due| match due {
        Due::Expired { key, .. } => *key,
        other => panic!("{other:?}"),
    };
    due.sort_by_key(key);
    let mut expected: Vec<Due> = [unresolved, resolving, failed, down, paused, deferred, held]
        .into_iter()
        .map(|key| expired(key, false))
        .chain([expired(in_flight, true)])
        .collect();
    expected.sort_by_key(key);
    assert_eq!(due, expected);
    assert_eq!(story.queue.counts(), Counts { in_flight: 8, ..Counts::default() });
    assert_eq!(story.after(LIFETIME), [], "told once");
}

#[test]
fn an_attempt_that_outlasts_the_lifetime_may_succeed_or_ends_it() {
    let mut story = Story::new();
    let [won, lost] = [story.mail("mx:a"), story.mail("mx:a")];
    let site = story.connections("site", 1)[0];
    assert_eq!(story.take(site, Phase::Dispatched).1, [won]);
    assert_eq!(story.next(site).unwrap().1, [lost]);
    assert_eq!(story.after(LIFETIME).len(), 2);
    story.queue.done(won);
    story.defer(lost, HOUR);
    assert_eq!(story.after(0), [expired(lost, false)]);
    assert_eq!(story.state(lost), State::InFlight);
}

#[test]
fn an_attempt_beyond_the_lifetime_is_not_waited_for_nor_cut_short() {
    let mut story = Story::new();
    let key = story.mail("mx:a");
    let site = story.connections("site", 1)[0];
    story.take(site, Phase::Dispatched);
    story.defer(key, LIFETIME + 1);
    assert_eq!(story.after(LIFETIME - 1), []);
    assert_eq!(story.state(key), State::Deferred);
    assert_eq!(story.after(1), [expired(key, false)]);
}

#[test]
fn deferred_mail_is_ready_on_its_time_and_counts_its_attempts() {
    let mut story = Story::new();
    let mut new = story.new_mail();
    new.attempts = 3;
    let key = story.put("mx:a", &new, When::At(story.wall_in(HOUR)));
    assert_eq!(story.work(), [], "nobody looks up what is not due");
    let view = story.queue.entry(story.now, key).unwrap();
    assert_eq!((view.attempts, view.next_attempt), (3, Some(story.wall_in(HOUR))));
    assert_eq!(view.expires, new.expires);
    story.after(HOUR - 1);
    assert_eq!(story.state(key), State::Deferred);
    story.after(1);
    assert_eq!(story.state(key), State::Ready);
    assert_eq!(story.work().len(), 1);
}

/// Covers: A7.7
#[test]
fn a_delay_notice_is_due_once_and_not_during_an_attempt() {
    let mut story = Story::new();
    let mut new = story.new_mail();
    new.notice = Some(story.wall_in(4 * HOUR));
    let waiting = story.put("mx:a", &new, When::At(story.wall_in(20 * HOUR)));
    let flying = story.put("mx:b", &new, When::Now);
    let site = story.connections("site", 1)[0];
    story.take(site, Phase::Dispatched);
    assert_eq!(story.after(4 * HOUR - 1), []);
    assert_eq!(story.after(1), [Due::DelayNotice(waiting)]);
    story.after(HOUR);
    story.defer(flying, HOUR);
    assert_eq!(story.after(0), [Due::DelayNotice(flying)]);
    assert_eq!(story.after(19 * HOUR - 1), []);
    assert_eq!(story.after(1).len(), 2, "both expired");
}

/// A clock that is set ahead by a year must not expire the whole queue, nor one
/// that is set back keep it for ever.
///
/// Covers: B31
#[test]
fn a_jump_of_the_wall_clock_changes_nothing() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    for ahead in [true, false] {
        let mut story = Story::new();
        story.now.wall = story.now.wall + 2 * YEAR;
        let key = story.mail("mx:a");
        let site = story.connections("site", 1)[0];
        story.take(site, Phase::Dispatched);
        story.defer(key, HOUR);
        let wall = story.now.wall;
        story.now.wall = if ahead { wall + YEAR } else { wall - YEAR };
        assert_eq!(story.after(HOUR - 1), []);
        assert_eq!(story.state(key), State::Deferred);
        assert_eq!(story.after(1), []);
        assert_eq!(story.state(key), State::Ready);
        // Mail grows old by the time that passes, whatever a calendar says:
        // from its arrival the end of its lifetime is reckoned.
        let now = story.now;
        let view = story.queue.entry(now, key).unwrap();
        assert_eq!(now.wall.since(view.arrived), Duration::from_millis(HOUR));
        let row = story.queue.top_sites(now, 1).remove(0);
        assert_eq!(row.ages[4], 1, "{ahead}: {row:?}");
        assert!(now.wall.since(row.oldest.unwrap()).as_secs() <= HOUR / 1_000 + 1);
    }
}

#[test]
fn our_own_shortage_puts_mail_back_in_front_in_order() {
    let mut story = Story::new();
    let keys: Vec<_> = story.mails("mx:a", 4);
    let site = story.connections("site", 1)[0];
    assert_eq!(story.take(site, Phase::Dispatched).1, keys[..1]);
    assert_eq!(story.next(site).unwrap().1, keys[1..2]);
    story.queue.ready_again(story.now, keys[1]);
    story.queue.ready_again(story.now, keys[0]);
    for key in &keys {
        assert_eq!(story.next(site).unwrap().1, [*key]);
    }
    assert_eq!(story.queue.entry(story.now, keys[0]).unwrap().attempts, 0);
}

#[test]
fn what_is_held_stays_until_it_is_released() {
    let mut story = Story::new();
    let (ready, flying) = (story.mail("mx:a"), story.mail("mx:b"));
    let born_held = story.new_mail();
    let born_held = story.put("mx:a", &born_held, When::Held);
    story.queue.hold(ready);
    let site = story.connections("site", 1)[0];
    assert_eq!(story.take(site, Phase::Dispatched).1, [flying]);
    story.queue.hold(flying);
    assert_eq!(story.state(flying), State::InFlight, "an attempt is not torn down");
    story.defer(flying, SECOND);
    story.after(HOUR);
    assert_eq!(story.queue.counts().held, 3);
    assert_eq!(story.next(site), None);
    story.queue.flush(ready);
    assert_eq!(story.queue.counts().held, 3, "flush does not release");
    for key in [ready, flying, born_held] {
        story.queue.release(key);
        assert_eq!(story.state(key), State::Ready);
    }
}

#[test]
fn removal_reaches_mail_in_flight_when_it_comes_back() {
    let mut story = Story::new();
    let (back, gone, ready) = (story.mail("mx:a"), story.mail("mx:a"), story.mail("mx:a"));
    let site = story.connections("site", 1)[0];
    story.take(site, Phase::Dispatched);
    story.next(site);
    assert!(story.queue.remove(story.now, ready), "the shard's at once");
    assert!(!story.queue.remove(story.now, back));
    assert!(!story.queue.remove(story.now, gone));
    story.queue.done(gone);
    story.defer(back, HOUR);
    assert_eq!(story.after(0), [Due::Removed(back)]);
    assert_eq!(story.after(2 * LIFETIME), [], "the shard has both");
    assert!(story.queue.done(back) && story.queue.done(ready));
}

#[test]
fn rerouted_mail_keeps_its_state_and_moves_its_counts() {
    let mut story = Story::new();
    let new = story.new_mail();
    let when = [When::Now, When::At(story.wall_in(HOUR)), When::Held];
    let keys = when.map(|when| story.put("mx:old", &new, when));
    for (key, state) in keys.iter().zip([State::Ready, State::Deferred, State::Held]) {
        assert!(story.queue.reroute(*key, NextHop { name: "mx:old", route: 7, exit: 0 }));
        assert_eq!(story.state(*key), state);
    }
    let key = story.queue.find_destination(NextHop { name: "mx:old", route: 7, exit: 0 }).unwrap();
    assert_eq!(story.queue.destination(key).unwrap().1.total(), 3);
    let old = story.queue.find_destination(hop("mx:old")).unwrap();
    assert_eq!(story.queue.destination(old).unwrap().1, Counts::default());
    assert_eq!(story.work(), [Work::Resolve(key)], "the old place is not asked for");
    story.after(HOUR);
    assert_eq!(story.queue.counts().ready, 2);
}

#[test]
fn a_full_queue_refuses_and_recovers() {
    let mut story = Story::bounded(Bounds { entries_max: 2, ..Bounds::default() });
    let first = story.mail("mx:a");
    story.mail("mx:b");
    let new = story.new_mail();
    let refused = story.queue.insert(story.now, hop("mx:c"), &new, When::Now);
    assert_eq!(refused, Err(InsertError::LocalFull { entries_max: 2 }));
    assert_eq!(story.queue.destinations(), 2, "a refusal leaves nothing behind");
    story.queue.done(first);
    assert!(story.queue.insert(story.now, hop("mx:c"), &new, When::Now).is_ok());
}

#[test]
fn what_was_learned_is_kept_up_to_a_bound() {
    let bounds = Bounds { idle_destinations_max: 3, idle_sites_max: 2, ..Bounds::default() };
    let mut story = Story::bounded(bounds);
    for n in 0..10 {
        let key = story.mail(&format!("mx:{n}"));
        let site = story.connections(&format!("site {n}"), 20)[0];
        story.take(site, Phase::Dispatched);
        story.queue.done(key);
        story.queue.connection_closed(site, Phase::Busy);
        story.queue.site_failed(story.now.mono, site, story.mono_in(HOUR), "refused");
    }
    assert_eq!(story.queue.destinations(), 3);
    assert_eq!(story.queue.sites(), 3 + 2, "three in use by name, two unused");
    assert!(story.queue.find_site("site 5").is_some());
    assert!(story.queue.find_site("site 4").is_none());
    assert_eq!(story.after(2 * HOUR), [], "the timers of the dropped are gone");
    // One that is used again is not dropped as the oldest.
    story.mail("mx:7");
    story.mail("mx:11");
    assert!(story.queue.find_destination(hop("mx:7")).is_some());
}

#[test]
fn nothing_is_kept_when_nothing_may_be_kept() {
    let bounds = Bounds { idle_destinations_max: 0, idle_sites_max: 0, ..Bounds::default() };
    let mut story = Story::bounded(bounds);
    let key = story.mail("mx:a");
    let destination = story.queue.find_destination(hop("mx:a")).unwrap();
    let site = story.resolve(destination, "site", 1);
    story.queue.forget_resolutions();
    let asked = story.work();
    assert_eq!(asked, [Work::Resolve(destination)]);
    assert!(story.queue.site(site).is_none());
    story.queue.done(key);
    assert_eq!((story.queue.destinations(), story.queue.sites()), (0, 0));
    assert_eq!(story.queue.resolved(story.now, destination, "site", 1, story.now.mono), None);
    assert_eq!(story.queue.site_of(destination), None);
}

/// Ten thousand retries on one millisecond come in steps, and all come.
#[test]
fn a_crowd_that_is_due_at_once_comes_in_bounded_steps() {
    let mut story = Story::new();
    let until = story.wall_in(HOUR);
    for _ in 0..10_000 {
        let new = story.new_mail();
        story.put("mx:a", &new, When::At(until));
    }
    story.now.mono = story.now.mono + Duration::from_millis(HOUR);
    let mut steps = 0;
    while story.queue.next_deadline().is_some_and(|at| at <= story.now.mono) {
        let before = story.queue.counts().ready;
        story.queue.advance(story.now, &mut story.due);
        let moved = (story.queue.counts().ready - before) as usize;
        assert!(moved <= crate::ADVANCE_TIMERS_MAX);
        steps += 1;
    }
    assert!((10..50).contains(&steps), "{steps}");
    assert_eq!(story.queue.counts().ready, 10_000);
}

#[test]
fn place_and_doubt_can_be_repaired() {
    let mut story = Story::new();
    let key = story.mail("mx:a");
    let place = Place { segment: base::SegmentId(9), offset: 4, len: 100 };
    story.queue.set_place(key, place);
    story.queue.set_in_doubt(key, true);
    let view = story.queue.entry(story.now, key).unwrap();
    assert_eq!((view.place, view.in_doubt), (place, true));
    story.queue.done(key);
    story.queue.set_place(key, place);
    assert_eq!(story.queue.entry(story.now, key), None);
    assert_eq!(EntryKey::from_u64(key.as_u64()), key);
}
