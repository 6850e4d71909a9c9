//! Windows as they are written, and the clocks of zones that jump.

use proptest::prelude::*;

use super::*;

fn table(zone: &str, windows: &[&str]) -> Timetable {
    let windows = windows.iter().map(|window| window.parse().unwrap()).collect();
    Timetable::new(Zone::named(zone).unwrap(), windows).unwrap()
}

/// A moment, written with its offset.
fn at(text: &str) -> Wall {
    wall(text.parse().unwrap()).unwrap()
}

fn changes(table: &Timetable, from: &str) -> Wall {
    table.changes(at(from)).unwrap()
}

/// Shows: S2.8
#[test]
fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
    let nights = table("Europe/Berlin", &["mon-fri 22:00-06:00"]);
    // 2026-11-20 is a Friday.
    for (moment, open) in [
        ("2026-11-20T21:59:59.999+01:00", false),
        ("2026-11-20T22:00+01:00", true),
        ("2026-11-21T05:59:59.999+01:00", true),
        ("2026-11-21T06:00+01:00", false),
        ("2026-11-21T23:00+01:00", false),
        ("2026-11-23T05:00+01:00", false),
    ] {
        assert_eq!(nights.is_open(at(moment)), open, "{moment}");
    }
    assert_eq!(changes(&nights, "2026-11-20T12:00+01:00"), at("2026-11-20T22:00+01:00"));
    assert_eq!(changes(&nights, "2026-11-20T22:00+01:00"), at("2026-11-21T06:00+01:00"));
    assert_eq!(changes(&nights, "2026-11-21T06:00+01:00"), at("2026-11-23T22:00+01:00"));
}

#[test]
fn windows_that_touch_are_one() {
    let weekend = table("UTC", &["sat,sun 00:00-24:00", "fri 18:00-24:00"]);
    assert_eq!(changes(&weekend, "2026-11-20T17:00Z"), at("2026-11-20T18:00Z"));
    assert_eq!(changes(&weekend, "2026-11-20T18:00Z"), at("2026-11-23T00:00Z"));
    assert_eq!(table("UTC", &["00:00-24:00"]).changes(at("2026-11-20T18:00Z")), None);
}

/// In Berlin 2026-03-29 has no 02:30; 2026-10-25 has it twice.
///
/// Shows: S2.8
#[test]
fn an_opening_in_the_gap_comes_behind_it_and_a_doubled_hour_counts_twice() {
    let late = table("Europe/Berlin", &["sun 02:30-05:00"]);
    assert_eq!(changes(&late, "2026-03-29T01:00+01:00"), at("2026-03-29T03:00+02:00"));
    assert_eq!(changes(&late, "2026-03-29T03:00+02:00"), at("2026-03-29T05:00+02:00"));
    // All of it left out: it is there again a week later.
    let short = table("Europe/Berlin", &["sun 02:10-02:50"]);
    assert_eq!(changes(&short, "2026-03-28T12:00+01:00"), at("2026-04-05T02:10+02:00"));
    let twice = ["+02:00", "+01:00"];
    let mut moment = "2026-10-25T00:00+02:00".to_owned();
    for offset in twice {
        assert_eq!(changes(&short, &moment), at(&format!("2026-10-25T02:10{offset}")));
        moment = format!("2026-10-25T02:10{offset}");
        assert_eq!(changes(&short, &moment), at(&format!("2026-10-25T02:50{offset}")));
        moment = format!("2026-10-25T02:50{offset}");
    }
    // A window that the doubled hour lies within is longer by it.
    assert_eq!(changes(&late, "2026-10-25T02:40+01:00"), at("2026-10-25T05:00+01:00"));
    // It ends with the first 03:00 that is shown, and is over.
    let early = table("Europe/Berlin", &["sun 01:00-02:15"]);
    assert_eq!(changes(&early, "2026-10-25T01:00+02:00"), at("2026-10-25T02:15+02:00"));
    assert_eq!(changes(&early, "2026-10-25T02:15+02:00"), at("2026-10-25T02:00+01:00"));
    assert_eq!(changes(&early, "2026-10-25T02:00+01:00"), at("2026-10-25T02:15+01:00"));
}

#[test]
fn what_is_written_is_understood_and_shown_in_its_shortest_form() {
    for (text, shown) in [
        ("mon-fri 22:00-06:00", "mon-fri 22:00-06:00"),
        ("SAT,sun 00:00-24:00", "sat-sun 00:00-24:00"),
        ("sat-mon 8:00-09:00", ""),
        ("sat-mon 08:00-09:00", "mon,sat-sun 08:00-09:00"),
        ("mon,wed,fri 10:00-00:00", "mon,wed,fri 10:00-00:00"),
        ("08:00-17:30", "08:00-17:30"),
        ("mon-sun 08:00-17:30", "08:00-17:30"),
    ] {
        match text.parse::<Window>() {
            Ok(window) => assert_eq!(window.to_string(), shown),
            Err(error) => assert_eq!((error, shown), (WindowError::PolicyTime("8:00".into()), "")),
        }
    }
    for (text, error) in [
        ("", WindowError::PolicyForm),
        ("mon", WindowError::PolicyForm),
        ("mon 1 2", WindowError::PolicyForm),
        ("monday 08:00-09:00", WindowError::PolicyDay("monday".into())),
        ("mon- 08:00-09:00", WindowError::PolicyDay(String::new())),
        ("08:60-09:00", WindowError::PolicyTime("08:60".into())),
        ("08:00-24:01", WindowError::PolicyTime("24:01".into())),
        ("24:00-06:00", WindowError::PolicyTime("24:00".into())),
        ("24:00-00:00", WindowError::PolicyEmpty),
        ("08:00-08:00", WindowError::PolicyEmpty),
    ] {
        assert_eq!(text.parse::<Window>(), Err(error), "{text}");
    }
    let zone = Zone::named("europe/berlin").unwrap();
    assert_eq!(&*zone.name, "Europe/Berlin");
    assert_eq!(Zone::named("Europe/Berlim"), Err(Some("Europe/Berlin".into())));
    assert_eq!(Zone::named("somewhere else"), Err(None));
    let windows = vec!["01:00-02:00".parse().unwrap(); WINDOWS_MAX + 1];
    assert_eq!(Timetable::new(zone.clone(), windows[1..].to_vec()).map(|_| ()), Some(()));
    assert_eq!(Timetable::new(zone.clone(), windows), None);
    assert_eq!(Timetable::new(zone, Vec::new()), None);
}

/// Zones whose clocks jump by an hour, by half of one, the other way round,
/// over midnight, and never.
const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Santiago",
    "America/Nuuk",
    "Asia/Kathmandu",
    "UTC",
];

fn window() -> impl Strategy<Value = Window> {
    // Quarters of an hour, mostly of the night, where clocks jump.
    let minute = prop_oneof![4 => 0..20u16, 1 => 0..=96u16].prop_map(|quarter| quarter * 15);
    (1..=EVERY_DAY, minute.clone(), minute).prop_filter_map("is empty", |(days, from, until)| {
        (from != until && from < DAY).then_some(Window { days, from, until })
    })
}

/// A year of moments, with every day on which a zone's clocks jump likely.
fn moment() -> impl Strategy<Value = Wall> {
    let jumps = ["2026-03-29", "2026-10-25", "2026-04-04", "2026-10-03", "2026-09-05"];
    let near = (0..jumps.len(), 0..3 * 24 * 60u64).prop_map(move |(jump, minutes)| {
        let day = at(&format!("{}T00:00Z", jumps[jump])).as_millis();
        Wall::from_millis(day - 86_400_000 + minutes * 60_000)
    });
    let any = (0..366 * 24 * 60u64).prop_map(|minutes| {
        Wall::from_millis(at("2026-01-01T00:00Z").as_millis() + minutes * 60_000 + 1)
    });
    prop_oneof![3 => near, 1 => any]
}

proptest! {
    /// The change is where a look at every minute finds it.
    #[test]
    fn prop_the_next_change_is_that_of_a_scan(
        zone in 0..ZONES.len(),
        windows in proptest::collection::vec(window(), 1..4),
        now in moment(),
    ) {
        let table = Timetable::new(Zone::named(ZONES[zone]).unwrap(), windows).unwrap();
        let open = table.is_open(now);
        let found = table.changes(now);
        let first = now.as_millis() / 60_000 + 1;
        let scan = (first..first + 15 * 24 * 60)
            .map(|minute| Wall::from_millis(minute * 60_000))
            .find(|moment| table.is_open(*moment) != open);
        match scan {
            Some(_) => prop_assert_eq!(found, scan, "{}", table),
            None => prop_assert!(found.is_none_or(|at| at.since(now).as_secs() >= 15 * 86_400 - 60)),
        }
    }

    #[test]
    fn prop_a_window_survives_printing(window in window()) {
        prop_assert_eq!(window.to_string().parse(), Ok(window));
    }

    #[test]
    fn prop_no_text_makes_a_window_panic(text in "\\PC{0,24}|[a-z0-9:, -]{0,24}") {
        let _ = (text.parse::<Window>(), Zone::named(&text));
    }
}
