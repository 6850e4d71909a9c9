//! `[log]` written out as configuration.

use super::Out;
use crate::policy::{LogLevel, LogSettings};
use crate::units::{Size, Span};

/// The settings of the log.
pub(super) fn settings(log: &LogSettings, out: &mut Out) {
    out.section("[log]");
    let level = match log.level {
        LogLevel::Quiet => "quiet",
        LogLevel::Basic => "basic",
        LogLevel::Detail => "detail",
    };
    out.text("level", level);
    out.text("size", Size(log.size));
    out.text("age", Span(log.age));
    out.text("max_bytes", Size(log.max_bytes));
    out.text("retention", Span(log.retention));
}
