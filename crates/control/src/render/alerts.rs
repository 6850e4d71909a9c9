//! `[alerts]` written out as configuration.

use super::Out;
use crate::alert::{AlertSettings, RULE_TABLE, Unit};
use crate::units::Span;

/// The settings of alerts.
pub(super) fn settings(alerts: &AlertSettings, out: &mut Out) {
    out.section("[alerts]");
    out.texts("mail_to", &alerts.mail_to);
    out.text("raise_after", Span(alerts.raise_after));
    out.text("clear_after", Span(alerts.clear_after));
    for known in &RULE_TABLE {
        match alerts.limit(known.rule) {
            None => out.text(known.word, "none"),
            Some(limit) if known.unit == Unit::Count => out.plain(known.word, limit),
            Some(limit) => out.text(known.word, known.unit.shown(limit)),
        }
    }
}
