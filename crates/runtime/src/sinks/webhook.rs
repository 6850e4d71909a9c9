//! Batches as requests to a web server: a JSON array of lines, signed, with a
//! key by which the server knows a batch that it has seen before.
//!
//! Never decides when to try again. Invariants: a batch was taken only where
//! the answer is 2xx; the secret is in no request.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base::hex;
use control::Webhook;
use eventlog::Batch;

use super::http_client::HttpClient;
use super::outlet::{Outlet, Untaken};
use super::patient::Deadline;

/// Posts batches to one URL.
pub(super) struct WebhookOutlet {
    name: Box<str>,
    key: Option<hmac::Key>,
    timeout: Duration,
    client: HttpClient,
    stop: Arc<AtomicBool>,
}

impl WebhookOutlet {
    pub(super) fn new(hook: &Webhook, stop: &Arc<AtomicBool>) -> Self {
        let key = hook.secret.as_ref();
        Self {
            name: hook.name.clone(),
            key: key.map(|(_, secret)| hmac::Key::new(hmac::HMAC_SHA256, secret.expose())),
            timeout: hook.timeout,
            client: HttpClient::new(hook.url.clone(), hook.trust.clone()),
            stop: stop.clone(),
        }
    }

    /// The fields of a request, each with its end.
    fn fields(&self, lines: usize, id: &str, at: u64, body: &[u8]) -> String {
        let mut fields = format!(
            "Content-Type: application/json\r\nIdempotency-Key: {id}\r\nRingpost-Webhook: {}\r\n\
             Ringpost-Events: {lines}\r\nRingpost-Timestamp: {at}\r\n",
            self.name
        );
        if let Some(key) = &self.key {
            let mut signed = hmac::Context::with_key(key);
            signed.update(format!("{at}.").as_bytes());
            signed.update(body);
            let signature = hex::encode(signed.sign().as_ref());
            let _ = write!(fields, "Ringpost-Signature: v1={signature}\r\n");
        }
        fields
    }
}

impl Outlet for WebhookOutlet {
    fn send(&mut self, batch: &Batch, id: &str) -> Result<String, Untaken> {
        let body = batch.to_json();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = now.map_or(0, |since| since.as_secs());
        let fields = self.fields(batch.len(), id, at, &body);
        let deadline = Deadline::after(self.timeout, &self.stop);
        let untaken = |reason| Untaken { taken: 0, reason };
        match self.client.post(&fields, &body, &deadline) {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(answer.said),
            Ok(answer) => Err(untaken(format!("it answered {}", answer.said))),
            Err(error) => Err(untaken(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use base::secret::Secret;

    use super::*;

    /// The figures are those of `printf '1700000000.[]' | openssl dgst -sha256
    /// -hmac sesame`.
    #[test]
    fn a_batch_is_signed_over_time_and_body() {
        let url = "http://127.0.0.1:1/".parse().unwrap();
        let secret = Some(("file".into(), Secret::new(b"sesame")));
        let hook = Webhook { secret, ..Webhook::new("audit", url) };
        let outlet = WebhookOutlet::new(&hook, &Arc::default());
        let fields = outlet.fields(2, "0a", 1_700_000_000, b"[]");
        let expected = "Content-Type: application/json\r\nIdempotency-Key: 0a\r\n\
                        Ringpost-Webhook: audit\r\nRingpost-Events: 2\r\n\
                        Ringpost-Timestamp: 1700000000\r\nRingpost-Signature: v1=SIGNATURE\r\n";
        assert_eq!(fields, expected.replace("SIGNATURE", SIGNATURE));
        let plain = WebhookOutlet::new(&Webhook { secret: None, ..hook }, &Arc::default());
        assert!(!plain.fields(2, "0a", 1_700_000_000, b"[]").contains("Signature"));
    }

    const SIGNATURE: &str = "a5c11e22c4a29736f289a1e7b7b89cbd823e80da5d74face53c68ae1208c34cc";
}
