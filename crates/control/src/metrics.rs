//! `[metrics]`: where Prometheus finds the daemon's numbers, and how many names
//! stand singly among them.

use std::net::SocketAddr;

/// Sites, and domains, that stand singly unless set.
const NAMES: u32 = 50;

/// `[metrics]`
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsSettings {
    /// The port that answers scrapes; none: only the control sockets do.
    pub listen: Option<SocketAddr>,
    /// Whether that may be an address that others reach.
    pub anywhere: bool,
    /// Sites, and domains, that stand singly; the rest stands as one. Default
    /// 50.
    pub names: u32,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { listen: None, anywhere: false, names: NAMES }
    }
}
