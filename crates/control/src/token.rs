//! OAuth 2.0 access tokens that a program of this machine prints: what is run
//! for one, and what its output means.
//!
//! Never here: running it, or how long a token is kept. Invariant: nothing that
//! this file says shows a token, or any of what the program wrote.

use std::time::Duration;

use base::secret::Secret;
use serde_json::Value;

use crate::log_in::SECRET_BYTES_MAX;
use crate::program::Program;

/// `token_command` of a log-in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenCommand {
    /// Prints a token.
    pub program: Program,
    /// How long it may take. Default [`TOKEN_TIMEOUT`].
    pub timeout: Duration,
}

/// A token, as it was printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token itself; 1 to [`SECRET_BYTES_MAX`] octets, printable ASCII.
    pub secret: Secret,
    /// For how long it is good from now on, if that was said; at most
    /// [`LIFETIME_MAX`].
    pub lasts: Option<Duration>,
}

/// How long a program may take to print a token, unless told otherwise.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest lifetime that is believed.
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What was printed is no token. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Nothing but blanks on the first line.
    #[error("its output begins with no token")]
    PeerEmpty,
    /// More than [`SECRET_BYTES_MAX`] octets.
    #[error("its token has more than {SECRET_BYTES_MAX} octets")]
    PeerTooLong,
    /// Something that no bearer token holds.
    #[error("its token has blanks, control characters or letters outside ASCII")]
    PeerNotPrintable,
    /// It begins like JSON and is none.
    #[error("its output is no sound JSON")]
    PeerNotJson,
    /// JSON without `access_token`, or with one that is no string.
    #[error("its JSON has no `access_token`")]
    PeerNoToken,
    /// `expires_in` is there and is no number of seconds above 0.
    #[error("`expires_in` of its JSON is no number of seconds above 0")]
    PeerLifetime,
}

impl Token {
    /// Reads what a program printed: the token on the first line, or JSON with
    /// `access_token` and perhaps `expires_in` in seconds, as authorization
    /// servers answer.
    ///
    /// # Errors
    /// A [`TokenFault`].
    pub fn read(output: &[u8]) -> Result<Self, TokenFault> {
        if output.trim_ascii_start().starts_with(b"{") {
            return Self::of_json(output);
        }
        let line = output.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(Self { secret: secret(line.trim_ascii())?, lasts: None })
    }

    fn of_json(output: &[u8]) -> Result<Self, TokenFault> {
        let value: Value = serde_json::from_slice(output).map_err(|_| TokenFault::PeerNotJson)?;
        let token = value.get("access_token").and_then(Value::as_str);
        let secret = secret(token.ok_or(TokenFault::PeerNoToken)?.as_bytes())?;
        let lasts = value.get("expires_in").filter(|it| !it.is_null()).map(lifetime).transpose()?;
        Ok(Self { secret, lasts })
    }
}

fn secret(token: &[u8]) -> Result<Secret, TokenFault> {
    match token {
        [] => Err(TokenFault::PeerEmpty),
        _ if token.len() > SECRET_BYTES_MAX => Err(TokenFault::PeerTooLong),
        _ if !token.iter().all(u8::is_ascii_graphic) => Err(TokenFault::PeerNotPrintable),
        _ => Ok(Secret::new(token)),
    }
}

/// Some servers write the number as a string.
fn lifetime(written: &Value) -> Result<Duration, TokenFault> {
    let number = written.as_f64().or_else(|| written.as_str()?.trim().parse().ok());
    let seconds = number.filter(|it| it.is_finite() && *it > 0.0);
    let seconds = seconds.ok_or(TokenFault::PeerLifetime)?.min(LIFETIME_MAX.as_secs_f64());
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Result<(Vec<u8>, Option<u64>), TokenFault> {
        let token = Token::read(output.as_bytes())?;
        Ok((token.secret.expose().to_vec(), token.lasts.map(|it| it.as_secs())))
    }

    #[test]
    fn a_token_stands_alone_on_the_first_line_or_in_json() {
        let token = |lasts| Ok((b"ya29.x-_~+/=".to_vec(), lasts));
        for output in ["ya29.x-_~+/=", "ya29.x-_~+/=\n", " ya29.x-_~+/= \r\nmore\x00\n"] {
            assert_eq!(read(output), token(None), "{output:?}");
        }
        for (rest, lasts) in [
            ("", None),
            (", \"expires_in\": null", None),
            (", \"expires_in\": 3599", Some(3_599)),
            (", \"expires_in\": \"3599\", \"token_type\": \"Bearer\"", Some(3_599)),
            (", \"expires_in\": 1e300", Some(LIFETIME_MAX.as_secs())),
            (", \"expires_in\": 99999999999999999999999", Some(LIFETIME_MAX.as_secs())),
        ] {
            let output = format!("\n {{\"access_token\": \"ya29.x-_~+/=\"{rest}}}\n");
            assert_eq!(read(&output), token(lasts), "{output}");
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_being_shown() {
        use TokenFault::*;
        let json = |rest: &str| format!("{{\"access_token\": \"secret\"{rest}}}");
        for (output, fault) in [
            (String::new(), PeerEmpty),
            ("\nsecret\n".into(), PeerEmpty),
            ("secret x".into(), PeerNotPrintable),
            ("secret\u{1}".into(), PeerNotPrintable),
            ("secret\u{e4}".into(), PeerNotPrintable),
            ("{secret".into(), PeerNotJson),
            ("{\"access\": \"secret\"}".into(), PeerNoToken),
            ("{\"access_token\": 5}".into(), PeerNoToken),
            ("{\"access_token\": \"\"}".into(), PeerEmpty),
            ("{\"access_token\": \"secret\\n\"}".into(), PeerNotPrintable),
            (json(", \"expires_in\": -1"), PeerLifetime),
            (json(", \"expires_in\": 0"), PeerLifetime),
            (json(", \"expires_in\": \"soon\""), PeerLifetime),
            (json(", \"expires_in\": [1]"), PeerLifetime),
            (json(", \"expires_in\": \"NaN\""), PeerLifetime),
        ] {
            let found = read(&output);
            assert_eq!(found, Err(fault), "{output:?}");
            assert!(!fault.to_string().contains("secret"));
        }
        assert!(read(&"x".repeat(SECRET_BYTES_MAX)).is_ok());
        assert_eq!(read(&"x".repeat(SECRET_BYTES_MAX + 1)), Err(PeerTooLong));
    }
}
