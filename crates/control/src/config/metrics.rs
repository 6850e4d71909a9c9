//! `[metrics]`: where Prometheus finds the daemon's numbers.

use super::cx::{Cx, Item, Keys};
use super::values;
use crate::metrics::MetricsSettings;

/// Most names that stand singly: each brings a dozen series.
const NAMES_MAX: u32 = 1_000;

pub(super) const METRICS: &Keys<MetricsSettings> = &[
    ("listen", |cx, item, s| {
        cx.set(&mut s.listen, item, |cx, item| values::socket(cx, item, None).map(Some));
    }),
    ("anywhere", |cx, item, s| cx.set(&mut s.anywhere, item, values::boolean)),
    ("names", |cx, item, s| {
        cx.set(&mut s.names, item, |cx, item| values::number(cx, item, 1..=NAMES_MAX));
    }),
];

/// Reads the section. Whom mail goes to is nobody's business who can merely
/// reach a port.
pub(super) fn metrics(cx: &mut Cx<'_>, item: &Item<'_>, s: &mut MetricsSettings) {
    cx.table(item, METRICS, s);
    let open = s.listen.filter(|listen| !s.anywhere && !listen.ip().is_loopback());
    if let Some(listen) = open {
        let message = format!(
            "is {}, which others reach: whoever does sees where mail goes; \
             set `anywhere = true` if that is meant",
            listen.ip()
        );
        cx.error_at("metrics.listen", message);
    }
    if s.anywhere && s.listen.is_none() {
        cx.warn_at("metrics.anywhere", "is of no use without `listen`");
    }
}
