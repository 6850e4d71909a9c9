//! `GET /v1/hosts`, `POST /v1/hosts/pin` and `POST /v1/hosts/forget`: what was
//! learned of single hosts.

use std::net::SocketAddr;

use serde::Deserialize;

use super::{ApiError, Request};

/// What an operator says of a host, whatever was learned of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pin {
    /// Passed over while another host can be tried.
    Down,
    /// Never passed over.
    Up,
}

/// The body of a pin: an address with its port, and what it is; no `as` ends
/// the pin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinOrder {
    address: SocketAddr,
    #[serde(rename = "as")]
    pin: Option<Pin>,
}

/// The body of forgetting: an address with its port, or `"all": true`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Forget {
    all: bool,
    address: Option<SocketAddr>,
}

pub(super) fn pin(order: &PinOrder) -> Request {
    Request::HostsPin { address: order.address, pin: order.pin }
}

pub(super) fn forget(order: &Forget) -> Result<Request, ApiError> {
    match (order.all, order.address) {
        (true, None) | (false, Some(_)) => Ok(Request::HostsForget(order.address)),
        _ => Err(ApiError::PeerRequest("name an address, or say \"all\": true".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_by_address_and_port() {
        let post = |path: &str, body: &str| Request::parse("POST", path, body.as_bytes());
        let address: SocketAddr = "192.0.2.1:25".parse().unwrap();
        let body = r#"{"address": "192.0.2.1:25", "as": "down"}"#;
        let pinned = Request::HostsPin { address, pin: Some(Pin::Down) };
        assert_eq!(post("/v1/hosts/pin", body), Ok(pinned));
        let body = r#"{"address": "192.0.2.1:25"}"#;
        assert_eq!(post("/v1/hosts/pin", body), Ok(Request::HostsPin { address, pin: None }));
        assert_eq!(post("/v1/hosts/forget", body), Ok(Request::HostsForget(Some(address))));
        for refused in ["{}", r#"{"address": "192.0.2.1"}"#, r#"{"address": "a:25"}"#] {
            assert!(post("/v1/hosts/forget", refused).is_err(), "{refused}");
        }
    }
}
