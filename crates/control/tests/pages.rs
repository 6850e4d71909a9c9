//! The pages for newcomers say what is so: each configuration in them is read
//! without a fault, and each setting that they name is there.

use control::{Config, help};
use mail::Domain;

/// Each page for users of an older product, with the rows that it must have.
const PAGES: [(&str, &str, usize); 5] = [
    ("from-outbox.md", include_str!("../../../docs/from-outbox.md"), 15),
    ("from-outgoing-mail.md", include_str!("../../../docs/from-outgoing-mail.md"), 21),
    ("from-exchange-pop3.md", include_str!("../../../docs/from-exchange-pop3.md"), 28),
    ("from-mailtraq.md", include_str!("../../../docs/from-mailtraq.md"), 20),
    ("from-ability-v1.md", include_str!("../../../docs/from-ability-v1.md"), 12),
];
const README: &str = include_str!("../../../README.md");

/// What stands between these marks.
fn blocks<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
}

#[test]
fn each_configuration_on_a_page_is_read_without_a_fault() {
    let machine = Domain::parse("mail.example.com").expect("a name");
    let pages = PAGES.map(|(path, page, _)| (path, page));
    let mut read_so_far = 0;
    for (path, page) in pages.into_iter().chain([("README.md", README)]) {
        let found = blocks(page, "```toml\n", "```");
        assert!(!found.is_empty(), "{path} has no example");
        for text in found {
            let config = Config::parse(text, &machine);
            let config = config.unwrap_or_else(|refused| panic!("{path}:\n{text}\n{refused}"));
            assert!(config.warnings.is_empty(), "{path}:\n{text}\n{:?}", config.warnings);
            read_so_far += 1;
        }
    }
    assert!(read_so_far >= 8, "only {read_so_far}");
}

/// Each old setting has its answer, and each setting named there is one.
///
/// Shows: S2.27
#[test]
fn each_old_setting_has_a_new_one_that_is_there() {
    let sections: Vec<&str> =
        help::SETTINGS.iter().filter(|it| it.is_section()).map(|it| it.path).collect();
    for (page, text, rows) in PAGES {
        assert!(README.contains(&format!("docs/{page}")), "the README does not name {page}");
        let table = text.lines().filter(|line| line.starts_with("| ")).skip(1);
        let mut count = 0;
        for line in table {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert!(cells.len() == 2 && cells.iter().all(|cell| !cell.is_empty()), "{line}");
            count += 1;
            for word in blocks(cells[1], "`", "`").iter().step_by(2) {
                let section = word.split('.').next().unwrap_or_default();
                if word.contains('.') && sections.contains(&section) && !word.contains('/') {
                    assert!(help::find(word).is_some(), "{page}: there is no setting {word}");
                }
            }
        }
        assert_eq!(count, rows, "rows of {page}");
    }
}
