//! Histories as operators make them, by turns and at once.

use super::*;

fn revision(number: u64, base: u64, origin: Origin) -> Revision {
    let (time, comment) = (Wall::from_millis(1_000 * number), String::new());
    Revision { number, base, time, uid: 0, pid: 1, origin, comment }
}

fn begun() -> History {
    History::new(revision(1, 0, Origin::File), 10)
}

fn commit(history: &mut History, fate: Fate) -> u64 {
    let number = history.next_number();
    history.may_commit(history.current()).expect("based on the current one");
    history.add(revision(number, history.current(), Origin::Socket), 10, fate);
    number
}

fn standing(history: &History, number: u64) -> Standing {
    history.standing(history.find(number).expect("it is kept"))
}

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

#[test]
fn whoever_was_slower_is_told_so() {
    let mut history = begun();
    let base = history.current();
    assert_eq!(commit(&mut history, Fate::Rules), 2);
    assert_eq!(history.may_commit(base), Err(Conflict::PeerStale { base: 1, current: 2 }));
    assert_eq!(history.may_commit(2), Ok(()));
    assert_eq!((history.current(), history.in_force()), (2, 2));
    assert_eq!(standing(&history, 1), Standing::Earlier);
}

#[test]
fn a_commit_to_be_confirmed_does_not_rule_before() {
    let mut history = begun();
    let number = commit(&mut history, Fate::Unconfirmed(at(600)));
    assert_eq!((history.current(), history.in_force()), (1, number));
    assert_eq!(history.pointers().current, 1, "what is stored is what a crash leaves");
    assert_eq!(history.unconfirmed(), Some((number, at(600))));
    assert_eq!(standing(&history, number), Standing::Unconfirmed);
    assert_eq!(history.may_commit(1), Err(Conflict::PeerUnconfirmed(number)));
    assert_eq!(history.may_confirm(Some(1)), Err(Conflict::PeerOther(number)));
    assert_eq!(history.may_confirm(None), Ok(number));
    history.confirm();
    assert_eq!((history.current(), history.in_force()), (number, number));
    assert_eq!(history.may_confirm(None), Err(Conflict::PeerNothingWaits));
}

/// What was undone keeps its number, and is told apart from what once ruled.
#[test]
fn an_undone_commit_leaves_the_old_one_and_its_number_behind() {
    let mut history = begun();
    commit(&mut history, Fate::Unconfirmed(at(600)));
    history.undo();
    assert_eq!((history.current(), history.in_force(), history.unconfirmed()), (1, 1, None));
    assert_eq!(standing(&history, 2), Standing::Undone);
    assert_eq!(commit(&mut history, Fate::Rules), 3);
    assert_eq!(standing(&history, 2), Standing::Undone);
    assert_eq!(standing(&history, 1), Standing::Earlier);
    let kept = history.latest_first().map(|r| (r.clone(), 10)).collect();
    let again = History::stored(kept, history.pointers()).expect("nothing is missing");
    assert_eq!((again.current(), again.in_force(), again.next_number()), (3, 3, 4));
    assert_eq!(standing(&again, 2), Standing::Undone);
}

#[test]
fn what_waits_for_a_start_is_current_and_not_in_force() {
    let mut history = begun();
    let number = commit(&mut history, Fate::NextStart);
    assert_eq!((history.current(), history.in_force()), (number, 1));
    assert_eq!(standing(&history, number), Standing::NextStart);
    assert_eq!(standing(&history, 1), Standing::InForce);
    let kept = history.latest_first().map(|r| (r.clone(), 10)).collect();
    let again = History::stored(kept, history.pointers()).expect("nothing is missing");
    assert_eq!(again.in_force(), number);
}

/// The way back of what was not confirmed is to what was in force, which need
/// not be what rules after a restart.
#[test]
fn what_is_undone_gives_way_to_what_was_in_force_before_it() {
    let mut history = begun();
    commit(&mut history, Fate::NextStart);
    let number = commit(&mut history, Fate::Unconfirmed(at(600)));
    assert_eq!((history.current(), history.in_force()), (2, number));
    history.undo();
    assert_eq!((history.current(), history.in_force()), (2, 1));
    assert_eq!(standing(&history, 1), Standing::InForce);
    assert_eq!(standing(&history, 2), Standing::NextStart);
}

#[test]
fn what_waits_for_a_quiet_moment_is_in_force_from_then_on() {
    let mut history = begun();
    let number = commit(&mut history, Fate::WhenIdle);
    assert_eq!((history.current(), history.in_force()), (number, 1));
    assert_eq!(standing(&history, number), Standing::WhenIdle);
    history.activate();
    assert_eq!((history.current(), history.in_force()), (number, number));
    assert_eq!(standing(&history, number), Standing::InForce);
    commit(&mut history, Fate::WhenIdle);
    commit(&mut history, Fate::Rules);
    assert_eq!(history.in_force(), 4, "a later one that waits for nothing overtakes it");
}

#[test]
fn a_history_without_what_rules_is_none() {
    let kept = vec![(revision(4, 3, Origin::Socket), 10)];
    let pointers = file::Pointers { current: 3, file: 1 };
    assert_eq!(History::stored(kept, pointers).unwrap_err(), LocalLost(3));
}

/// The file and the socket do not overrule each other without being told.
#[test]
fn the_file_counts_as_based_on_what_it_last_held() {
    let mut history = begun();
    assert_eq!(history.file_says("old", "old", "old"), FileSays::TheSame);
    assert_eq!(history.file_says("new", "old", "old"), FileSays::Something);
    history.add(revision(2, 1, Origin::File), 10, Fate::Rules);
    assert_eq!(history.of_file(), 2);
    commit(&mut history, Fate::Rules);
    assert_eq!(history.file_says("old", "old", "socket"), FileSays::Nothing);
    assert_eq!(history.file_says("new", "old", "socket"), FileSays::Outdated(2));
    assert_eq!(history.file_says("socket", "old", "socket"), FileSays::TheSame);
    history.file_agrees();
    assert_eq!(history.pointers(), file::Pointers { current: 3, file: 3 });
    assert_eq!(history.file_says("new", "socket", "socket"), FileSays::Something);
}

#[test]
fn the_oldest_are_forgotten_beyond_the_bound_but_never_what_is_needed() {
    let mut history = begun();
    for _ in 1..REVISIONS_MAX {
        commit(&mut history, Fate::Rules);
    }
    assert!(history.forget_old().is_empty(), "at the bound");
    commit(&mut history, Fate::Rules);
    commit(&mut history, Fate::Unconfirmed(at(1)));
    assert_eq!(history.forget_old(), [2, 3], "the first one is what the file holds");
    assert_eq!(history.latest_first().count(), REVISIONS_MAX);
    assert!(history.find(1).is_some() && history.find(2).is_none());
    assert_eq!(standing(&history, 1), Standing::Earlier, "for all that is known");
}

#[test]
fn large_texts_are_forgotten_by_their_bytes() {
    let mut history = begun();
    history.add(revision(2, 1, Origin::Socket), KEPT_BYTES_MAX - 20, Fate::Rules);
    history.add(revision(3, 2, Origin::Socket), 10, Fate::Rules);
    assert!(history.forget_old().is_empty(), "at the bound");
    history.add(revision(4, 3, Origin::Socket), 1, Fate::Rules);
    assert_eq!(history.forget_old(), [2]);
}
