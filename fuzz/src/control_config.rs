//! Configurations: any text.
//!
//! Oracle: refused with places that are in the text, or a policy that is the
//! same after it is printed and read again, and whose print is a fixed point.

use control::config::DIAGNOSTICS_MAX;
use control::{Config, Severity};
use mail::Domain;

/// Runs the target.
pub fn control_config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let name = Domain::parse("machine.example").expect("a name");
    match Config::parse(text, &name) {
        Err(refused) => {
            let found = &refused.diagnostics;
            assert!((1..=DIAGNOSTICS_MAX + 1).contains(&found.len()));
            assert!(found.iter().any(|diagnostic| diagnostic.severity == Severity::Error));
            let shown = refused.to_string();
            assert!(!shown.is_empty() && shown.len() < 4 * text.len() + (64 << 10));
            found
                .iter()
                .for_each(|diagnostic| check_place(text, diagnostic.line, diagnostic.column));
        }
        Ok(config) => {
            let warnings = config.warnings;
            assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
            warnings.iter().for_each(|warning| check_place(text, warning.line, warning.column));
            let printed = config.policy.effective_toml();
            let again = Config::parse(&printed, &name)
                .unwrap_or_else(|refused| panic!("{refused}\n{printed}"));
            assert_eq!(again.policy, config.policy, "{printed}");
            assert_eq!(again.policy.effective_toml(), printed);
        }
    }
}

/// The place is in the text, or just behind a line or the end.
fn check_place(text: &str, line: u32, column: u32) {
    let mut lines = text.split('\n').skip(line.max(1) as usize - 1);
    let Some(found) = lines.next() else { panic!("line {line} is not there") };
    assert!(line >= 1 && column >= 1);
    assert!(column as usize <= found.chars().count() + 1, "column {column} of {found:?}");
}
