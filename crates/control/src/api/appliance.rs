//! `/v1/appliance…`: what can be asked of the appliance that the daemon is a part
//! of: its state, updates, its network, a restart, a begin anew.

use std::time::Duration;

use serde::Deserialize;

use super::{ApiError, Request};
use crate::units::Span;

/// One checked request about the appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplianceRequest {
    /// How it is.
    State,
    /// Take in an update, which comes piece by piece.
    Update,
    /// Try settings of the network.
    Network {
        /// Undone after this time unless confirmed.
        confirm: Span,
        /// A `network.conf`.
        text: String,
    },
    /// Those on trial are right.
    NetworkConfirm,
    /// Begin anew, as if nothing had been set.
    Reset {
        /// Whether mail that waits is kept.
        keeps_queue: bool,
        /// The daemon's name, so that nobody resets another one.
        host: String,
    },
    /// Start the machine anew.
    Restart,
}

/// Largest `network.conf`, in octets.
const NETWORK_BYTES_MAX: usize = 64 << 10;
const CONFIRM_MIN: Duration = Duration::from_secs(10);
const CONFIRM_MAX: Duration = Duration::from_secs(3_600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkBody {
    text: String,
    confirm: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetBody {
    queue: String,
    host: String,
}

pub(super) fn network(body: NetworkBody) -> Result<Request, ApiError> {
    let NetworkBody { text, confirm } = body;
    let confirm: Span = confirm.parse().map_err(|why| refuse(format!("confirm {why}")))?;
    if !(CONFIRM_MIN..=CONFIRM_MAX).contains(&confirm.0) {
        let (from, to) = (Span(CONFIRM_MIN), Span(CONFIRM_MAX));
        return Err(refuse(format!("confirm is a time from {from} to {to}")));
    }
    if text.len() > NETWORK_BYTES_MAX || text.contains('\0') {
        return Err(refuse(format!("a network.conf has at most {NETWORK_BYTES_MAX} octets")));
    }
    Ok(ApplianceRequest::Network { confirm, text }.into())
}

pub(super) fn reset(body: ResetBody) -> Result<Request, ApiError> {
    let keeps_queue = match &*body.queue {
        "keep" => true,
        "delete" => false,
        _ => return Err(refuse("queue is keep or delete".into())),
    };
    Ok(ApplianceRequest::Reset { keeps_queue, host: body.host }.into())
}

fn refuse(why: String) -> ApiError {
    ApiError::PeerRequest(why)
}

impl From<ApplianceRequest> for Request {
    fn from(request: ApplianceRequest) -> Self {
        Self::Appliance(Box::new(request))
    }
}

/// What is asked, for the log.
impl std::fmt::Display for ApplianceRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::State => f.write_str("appliance status"),
            Self::Update => f.write_str("appliance update"),
            Self::Network { confirm, .. } => {
                write!(f, "appliance network set, to be confirmed within {confirm}")
            }
            Self::NetworkConfirm => f.write_str("appliance network confirm"),
            Self::Reset { keeps_queue, .. } => {
                write!(
                    f,
                    "appliance reset, queue {}",
                    if *keeps_queue { "kept" } else { "deleted" }
                )
            }
            Self::Restart => f.write_str("appliance restart"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pieces;
    use crate::appliance::UPDATE_BYTES_MAX;

    #[test]
    fn orders_are_read_and_what_is_not_clear_is_refused() {
        let put = |path: &str, body: &str| {
            Request::parse("PUT", &format!("/v1/appliance/{path}"), body.as_bytes())
        };
        let post = |path: &str, body: &str| {
            Request::parse("POST", &format!("/v1/appliance/{path}"), body.as_bytes())
        };
        let network = put("network", r#"{"text": "address = x\n", "confirm": "2m"}"#).unwrap();
        let confirm = Span(Duration::from_secs(120));
        let text = "address = x\n".to_owned();
        assert_eq!(network, ApplianceRequest::Network { confirm, text }.into());
        assert!(!network.reads_only() && !network.is_for_page());
        assert!(Request::parse("GET", "/v1/appliance", b"").is_ok_and(|it| it.reads_only()));
        let reset = post("reset", r#"{"queue": "keep", "host": "a.example"}"#).unwrap();
        let host = "a.example".to_owned();
        assert_eq!(reset, ApplianceRequest::Reset { keeps_queue: true, host }.into());
        assert!(post("restart", "").is_ok() && post("network/confirm", "").is_ok());
        assert!(put("update", "").is_ok_and(|it| !it.reads_only()));
        assert_eq!(pieces("PUT", "/v1/appliance/update"), Some(UPDATE_BYTES_MAX));
        assert_eq!(pieces("PUT", "/v1/appliance/network"), None);
        for (answer, words) in [
            (put("network", r#"{"text": "x", "confirm": "9s"}"#), "from 10s to 1h"),
            (put("network", r#"{"text": "x", "confirm": "61m"}"#), "from 10s to 1h"),
            (put("network", r#"{"text": "x", "confirm": "90"}"#), "lacks a unit"),
            (put("network", r#"{"text": "x"}"#), "missing field `confirm`"),
            (
                put(
                    "network",
                    &format!(
                        "{{\"text\": \"{}\", \"confirm\": \"1m\"}}",
                        "x".repeat(NETWORK_BYTES_MAX + 1)
                    ),
                ),
                "at most 65536",
            ),
            (post("reset", r#"{"queue": "lose", "host": "a"}"#), "keep or delete"),
            (post("reset", r#"{"queue": "keep"}"#), "missing field `host`"),
            (post("restart", "{}"), "takes no body"),
        ] {
            let why = answer.unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }
}
