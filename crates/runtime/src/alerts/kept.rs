//! What stands and what is silenced, in one small file of the data folder.
//!
//! Invariant: what cannot be read counts as nothing: alerts are then told
//! again, which is better than no start.

use std::io;
use std::path::Path;

use base::Wall;
use control::alert::{Rule, Silence, Watch};
use segment::small_file;
use serde_json::{Value, json};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What was kept.
pub(super) fn read(path: &Path, now: Wall) -> Watch {
    let mut watch = Watch::default();
    let bytes = small_file::read(path, FILE_BYTES_MAX).ok().flatten().unwrap_or_default();
    let kept: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let rows = |key: &str| kept[key].as_array().cloned().unwrap_or_default();
    for row in rows("raised") {
        let rule = row["rule"].as_str().and_then(Rule::named);
        if let (Some(rule), Some(since)) = (rule, row["since"].as_u64()) {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            watch.restore(rule, &text("of"), Wall::from_millis(since), &text("reason"));
        }
    }
    for row in rows("silences") {
        let rule = row["rule"].as_str();
        let known = rule.and_then(Rule::named);
        if let (Some(until), true) = (row["until"].as_u64(), rule.is_none() || known.is_some()) {
            let reason = row["reason"].as_str().unwrap_or_default().into();
            let silence = Silence { rule: known, until: Wall::from_millis(until), reason };
            // Those that are over, or too many, are not taken.
            let _ = watch.silence(now, silence);
        }
    }
    watch
}

/// Keeps what stands.
///
/// # Errors
/// What the file system gives.
pub(super) fn write(path: &Path, watch: &Watch) -> io::Result<()> {
    let raised: Vec<Value> = watch
        .raised()
        .map(|one| {
            json!({
                "rule": one.rule.word(), "of": &*one.subject, "since": one.since.as_millis(),
                "reason": one.reason,
            })
        })
        .collect();
    let silences = watch.silences().iter().map(|silence| {
        json!({
            "rule": silence.rule.map(Rule::word), "until": silence.until.as_millis(),
            "reason": &*silence.reason,
        })
    });
    let silences: Vec<Value> = silences.collect();
    let kept = json!({ "raised": raised, "silences": silences }).to_string();
    small_file::replace(path, kept.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_found_again_and_what_is_broken_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.json");
        let now = Wall::from_millis(1_000);
        let mut watch = Watch::default();
        watch.restore(Rule::SiteDown, "mx:a", now, "long");
        let silence =
            |rule, until| Silence { rule, until: Wall::from_millis(until), reason: "known".into() };
        watch.silence(now, silence(Some(Rule::QueueAge), 5_000)).unwrap();
        watch.silence(now, silence(None, 2_000)).unwrap();
        write(&path, &watch).unwrap();
        let found = read(&path, Wall::from_millis(3_000));
        assert_eq!(found.raised().next().map(|one| one.subject), Some("mx:a".into()));
        assert_eq!(found.silences(), [silence(Some(Rule::QueueAge), 5_000)]);
        for broken in ["", "[", "{\"raised\": 1, \"silences\": [{\"rule\": \"x\", \"until\": 9}]}"]
        {
            std::fs::write(&path, broken).unwrap();
            let found = read(&path, now);
            assert_eq!((found.raised().count(), found.silences().len()), (0, 0), "{broken}");
        }
    }
}
