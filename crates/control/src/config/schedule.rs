//! `schedule`: `"immediately"`, or a table with a time zone and the windows of
//! the week in which mail may leave.

use std::sync::Arc;

use toml::de::DeValue;

use super::cx::{Cx, Item, Keys, named};
use super::values;
use crate::timetable::{Timetable, WINDOWS_MAX, Window, Zone};

/// What was written of a timetable.
#[derive(Default)]
struct Written {
    zone: Option<Zone>,
    windows: Option<Vec<Window>>,
    /// A key was there whose value was refused.
    faulty: bool,
}

const KEYS: &Keys<Written> = &[
    ("zone", |cx, item, written| {
        written.zone = zone(cx, item);
        written.faulty |= written.zone.is_none();
    }),
    ("windows", |cx, item, written| {
        let windows = values::list(cx, item, WINDOWS_MAX, values::parsed::<Window>);
        if windows.as_ref().is_some_and(Vec::is_empty) {
            cx.error(item.span(), "must have at least one window");
        }
        written.faulty |= windows.as_ref().is_none_or(Vec::is_empty);
        written.windows = windows;
    }),
];

/// The paths of the keys of a timetable.
pub(super) fn schedule_keys() -> Vec<String> {
    named("delivery.schedule.", KEYS)
}

/// Reads `schedule`.
pub(super) fn schedule(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Option<Arc<Timetable>>> {
    match item.get_ref() {
        DeValue::Table(_) => {}
        DeValue::String(text) if text == "immediately" => return Some(None),
        _ => {
            let message = "must be \"immediately\", or a table such as { zone = \
                           \"Europe/Berlin\", windows = [\"mon-fri 22:00-06:00\"] }";
            cx.error(item.span(), message);
            return None;
        }
    }
    let mut written = Written::default();
    cx.table(item, KEYS, &mut written);
    if written.faulty {
        return None;
    }
    let (Some(zone), Some(windows)) = (written.zone, written.windows) else {
        cx.error(item.span(), "needs `zone` and `windows`");
        return None;
    };
    Timetable::new(zone, windows).map(Arc::new).map(Some)
}

fn zone(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Zone> {
    let name = values::text(cx, item)?;
    match Zone::named(name) {
        Ok(zone) => Some(zone),
        Err(near) => {
            let near = near.map_or_else(
                || "write one such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
                |near| format!("did you mean \"{near}\"?"),
            );
            cx.error(item.span(), format!("{} is no time zone; {near}", values::quoted(name)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use crate::config::Config;
    use crate::timetable::TIMETABLES_MAX;

    /// That many ways with different windows, each route twice.
    fn read(count: usize) -> Result<Config, String> {
        let schedule = |n: usize| {
            let (hour, minute) = (n / 60, n % 60);
            format!("schedule = {{ zone = \"UTC\", windows = [\"{hour:02}:{minute:02}-24:00\"] }}")
        };
        let mut text = format!("[delivery]\n{}\n", schedule(0));
        for n in (1..count).chain(1..count) {
            writeln!(text, "[[route]]\nmatch = \"a{n}.b{}.example\"\n{}", text.len(), schedule(n))
                .unwrap();
        }
        let machine = mail::Domain::parse("box.example").unwrap();
        Config::parse(&text, &machine).map_err(|refused| refused.to_string())
    }

    #[test]
    fn different_timetables_are_bounded_and_the_same_ones_are_one() {
        let policy = read(TIMETABLES_MAX).unwrap().policy;
        assert_eq!(policy.timetables().len(), TIMETABLES_MAX);
        let refused = read(TIMETABLES_MAX + 1).unwrap_err();
        assert!(refused.contains("route[64].schedule is one more than the 64"), "{refused}");
        assert!(!refused.contains("route[63].schedule"), "{refused}");
    }
}
