//! The reference page: every setting with its meaning, its values and its
//! default, section by section.
//!
//! Never says anything that is not in the table.

use std::fmt::Write;

use super::{Help, SETTINGS, TakesEffect};

const HEAD: &str = "\
# Settings

Written by `cargo xtask settings` from the table that `ringpost config help` answers from; a test fails when it is out
of date. All settings have a default: an empty configuration works.

Spans are written with their unit, as `30s`, `5m`, `1h30m`, `5d`; sizes as `64MiB`, `2GiB`. A change takes effect with
the commit, for everything begun after it, unless *next start* is said. Settings of `[delivery]` may stand in each
`[[route]]` too, and hold there instead of the default way's.
";

/// Sections that may come more than once.
const LISTS: [&str; 6] = ["route", "source", "pool", "local", "webhook", "syslog"];

/// The whole page, as Markdown.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut open = "";
    for help in SETTINGS {
        let section = help.path.split_once('.').map_or("", |(section, _)| section);
        // Writing to a String cannot fail.
        if help.is_section() {
            let (before, after) =
                if LISTS.contains(&help.path) { ("[[", "]]") } else { ("[", "]") };
            let _ = write!(page, "\n## `{before}{}{after}`\n\n{}\n", help.path, help.meaning);
            page.push_str(COLUMNS);
            open = help.path;
            continue;
        }
        if section.is_empty() && page.len() == HEAD.len() {
            page.push_str("\n## In front of all sections\n");
            page.push_str(COLUMNS);
        }
        assert_eq!(section, open, "the table goes by sections");
        row(&mut page, help);
    }
    page
}

const COLUMNS: &str = "\n| Setting | Values | Default | Meaning |\n|---|---|---|---|\n";

fn row(page: &mut String, help: &Help) {
    let default = match help.default.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(words) => words.to_owned(),
        None => format!("`{}`", help.default),
    };
    let next_start = match help.takes_effect {
        TakesEffect::AtOnce => "",
        TakesEffect::NextStart => " *Next start.*",
    };
    let Help { path, values, meaning, .. } = help;
    let _ = writeln!(page, "| `{path}` | {values} | {default} | {meaning}{next_start} |");
}
