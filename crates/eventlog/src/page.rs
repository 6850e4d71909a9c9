//! The reference page: every kind of event with its fields, and every field
//! with its meaning. Never says anything that is not in the tables, but for its
//! introduction.

use std::fmt::Write;

use crate::field::{Field, Shape};
use crate::kind::{Kind, Level};

/// The whole page, as `docs/events.md` holds it.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let parts = [
        (Level::Basic, "## Mail: from level `basic` on"),
        (Level::Always, "## Operators and the machine: at every level"),
        (Level::Detail, "## At level `detail`, or where it was asked for"),
    ];
    // Writing to a String cannot fail.
    for (level, title) in parts {
        let _ = write!(
            page,
            "\n{title}\n\n| Event | What it says | Always | Perhaps |\n|---|---|---|---|\n"
        );
        for kind in Kind::all().map(Kind::described).filter(|kind| kind.level == level) {
            let always = kind.always().filter(|it| !matches!(it, Field::Time | Field::Event));
            let (always, perhaps) = (keys(always), keys(kind.perhaps()));
            let _ = writeln!(page, "| `{}` | {} | {always} | {perhaps} |", kind.word, kind.meaning);
        }
    }
    page.push_str("\n## Fields\n\n| Field | Holds | Meaning |\n|---|---|---|\n");
    for field in Field::ALL {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} |",
            field.key(),
            holds(field.shape()),
            field.meaning()
        );
    }
    page
}

const HEAD: &str = include_str!("page/head.md");

fn keys(fields: impl Iterator<Item = Field>) -> String {
    let keys: Vec<String> = fields.map(|field| format!("`{}`", field.key())).collect();
    keys.join(" ")
}

fn holds(shape: Shape) -> String {
    match shape {
        Shape::Text => "text".into(),
        Shape::Time => "time, as `2026-11-21T22:15:30.125Z`".into(),
        Shape::Id => "13 letters and digits".into(),
        Shape::Session => "as `6740a1b2-0-17`".into(),
        Shape::Status => "as `5.1.1`".into(),
        Shape::Number => "a whole number".into(),
        Shape::Flag => "`true`, or absent".into(),
        Shape::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the repository is what the tables give.
    #[test]
    fn page_and_schema_are_up_to_date() {
        let written = include_str!("../../../docs/events.md");
        assert!(written == page(), "docs/events.md is out of date: run `cargo xtask events`");
        let schema = include_str!("../../../docs/events.schema.json");
        assert!(schema == crate::schema(), "the schema is out of date: run `cargo xtask events`");
    }

    #[test]
    fn the_page_has_a_row_for_every_kind_and_every_field() {
        let page = page();
        for word in Kind::all().map(Kind::word).chain(Field::ALL.map(Field::key)) {
            assert!(page.contains(&format!("\n| `{word}` | ")), "{word}");
        }
    }
}
