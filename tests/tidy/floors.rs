//! Dependencies run down the floors: which room may import which, and why each
//! outside crate is here. A new edge or crate edits this file and the map in
//! one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::report;

/// Rooms that compute and touch nothing.
pub const PURE: [&str; 10] =
    ["base", "mail", "meter", "smtp", "dns", "spool", "control", "eventlog", "queue", "shard"];

/// Every room, its floor (tools have none) and the rooms it may import.
const ROOMS: [(&str, Option<u8>, &[&str]); 20] = [
    ("base", Some(0), &[]),
    ("mail", Some(1), &["base"]),
    ("meter", Some(1), &["base"]),
    ("smtp", Some(2), &["base", "mail"]),
    ("dns", Some(2), &["base", "mail"]),
    ("spool", Some(2), &["base", "mail"]),
    ("control", Some(2), &["base", "mail"]),
    ("eventlog", Some(2), &["base", "mail"]),
    ("queue", Some(3), &["base", "mail", "control"]),
    (
        "shard",
        Some(4),
        &["base", "mail", "meter", "smtp", "dns", "spool", "control", "eventlog", "queue"],
    ),
    // `mail` for tests only: they store real envelopes.
    ("segment", Some(5), &["base", "mail", "spool"]),
    (
        "runtime",
        Some(6),
        &[
            "base", "mail", "meter", "smtp", "dns", "spool", "control", "eventlog", "queue",
            "shard", "segment",
        ],
    ),
    // `segment` and `shard` because the program puts the parts together: it
    // recovers the folder and hands a shard to each executor; `smtp` for what is
    // stored of a password, which `user hash` makes.
    (
        "ringpost",
        Some(7),
        &["base", "mail", "smtp", "control", "eventlog", "shard", "segment", "runtime", "harness"],
    ),
    ("sim", None, &["base", "mail", "smtp", "dns", "spool", "control", "queue", "shard"]),
    ("harness", None, &["base", "mail", "smtp", "dns"]),
    // `tests` for the reading of comments that the tables are made from.
    ("xtask", None, &["tests"]),
    ("tests", None, &["base", "mail", "spool", "segment", "harness"]),
    (
        "benches",
        None,
        &["base", "mail", "smtp", "dns", "spool", "control", "eventlog", "queue", "sim"],
    ),
    ("fuzz", None, &["base", "mail", "smtp", "dns", "spool", "control", "queue", "shard", "init"]),
    // PID 1 of the appliance imports nothing: a panic of it is one of the kernel.
    ("init", None, &[]),
];

/// Every outside crate, the rooms that may import it, and the reason.
const OUTSIDE: [(&str, &[&str], &str); 40] = [
    ("base64", &["smtp", "harness"], "the lines of AUTH"),
    ("bytesize", &["control"], "sizes as people write them"),
    ("clap", &["ringpost"], "arguments, help, exit code 2"),
    ("clap_complete", &["ringpost"], "completion for shells, from the same table as the arguments"),
    ("clap_mangen", &["ringpost"], "the manual page, from the same table"),
    ("crc32c", &["spool"], "checksums of records, in hardware"),
    ("crossbeam", &["runtime"], "bounded queues between threads"),
    ("foldhash", &["base"], "the fixed hasher of Map and Set"),
    ("futures-lite", &["runtime"], "small futures beside glommio"),
    ("glommio", &["runtime"], "executors on io_uring"),
    ("hashbrown", &["base"], "maps with a hasher of our choice, without std's random one"),
    ("hdrhistogram", &["harness", "meter"], "latencies that can be merged"),
    ("hickory-proto", &["dns", "sim", "harness"], "DNS messages, both ways"),
    ("hmac", &["smtp"], "CRAM-MD5 and SCRAM; pure Rust, so that the room stays light"),
    ("httparse", &["runtime", "ringpost"], "HTTP heads on the control socket, both ends"),
    ("idna", &["mail"], "domains of all scripts"),
    ("indicatif", &["ringpost"], "the demo's progress bar"),
    ("jiff", &["control"], "spans as people write them, times in log and reports, time zones"),
    ("md-5", &["smtp"], "CRAM-MD5, which no provider of TLS has any more"),
    ("memchr", &["mail", "smtp", "spool", "harness"], "scanning bytes by the vector"),
    ("memmap2", &["segment"], "the read-only map"),
    (
        "nix",
        &["runtime", "init"],
        "IP_BIND_ADDRESS_NO_PORT, which socket2 and rustix lack; all that PID 1 asks of the kernel",
    ),
    (
        "rcgen",
        &["harness", "ringpost"],
        "certificates made on the spot: of `remote-key`, of load tests",
    ),
    ("pbkdf2", &["smtp"], "SCRAM"),
    ("ratatui", &["ringpost"], "the screen of `top`; never in the daemon's path"),
    (
        "rustix",
        &["segment", "runtime", "ringpost", "harness", "tests"],
        "system calls without unsafe",
    ),
    ("rustls", &["runtime", "harness"], "TLS; in the harness to load with it"),
    ("rustls-native-certs", &["runtime"], "the machine's own certificate authorities"),
    (
        "serde",
        &["control", "shard", "ringpost", "harness"],
        "configuration, answers, scenarios and reports as types",
    ),
    (
        "serde_json",
        &["control", "shard", "runtime", "ringpost", "sim", "harness", "tests", "fuzz"],
        "the control socket's JSON",
    ),
    ("sha2", &["smtp"], "SCRAM"),
    ("socket2", &["runtime"], "sockets before they connect or listen"),
    (
        "thiserror",
        &[
            "mail", "meter", "smtp", "dns", "spool", "control", "queue", "shard", "segment",
            "runtime",
        ],
        "errors without boilerplate",
    ),
    ("toml", &["control", "harness"], "the configuration, with places; scenarios"),
    ("toml_edit", &["control"], "single settings changed in the text, comments kept"),
    ("webpki-roots", &["runtime"], "certificate authorities, the same on every machine"),
    ("aws-lc-rs", &["init", "runtime"], "the one provider of cryptography"),
    ("clock-steering", &["init"], "tells the kernel that its clock is right"),
    ("zstd", &["runtime"], "closed files of the log, a tenth as large"),
    ("annotate-snippets", &["ringpost"], "places in a configuration, shown"),
];

/// Outside crates for tests only, in any room, and the reason.
const TESTING: [(&str, &str); 4] = [
    ("criterion", "times of the hot pieces"),
    ("proptest", "properties over generated input"),
    ("rcgen", "certificates made for one test"),
    ("tempfile", "folders that go away"),
];

/// Never in the product's tree, and why.
const BANNED: [(&str, &str); 3] = [
    ("tokio", "one runtime is enough, and this is not it"),
    ("openssl-sys", "one TLS is enough, and this is not it"),
    ("hickory-resolver", "resolving is the product's own work"),
];

#[test]
fn dependencies_run_down_the_floors() {
    let root = tests::workspace();
    let mut breaches = Vec::new();
    for (room, _, _) in ROOMS {
        let path = match room {
            "tests" | "fuzz" | "benches" => room.to_owned(),
            "init" => format!("appliance/{room}"),
            _ => format!("crates/{room}"),
        };
        let manifest = fs::read_to_string(root.join(&path).join("Cargo.toml"));
        match manifest {
            Ok(manifest) => breaches.extend(check(room, &manifest)),
            Err(error) => breaches.push(format!("{path}/Cargo.toml: {error}")),
        }
    }
    for entry in fs::read_dir(root.join("crates")).expect("crates/ is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && ROOMS.iter().all(|(room, _, _)| *room != name) {
            breaches.push(format!("crates/{name}: stands on no floor"));
        }
    }
    report(breaches);
}

#[test]
fn the_table_itself_runs_down() {
    let floor =
        |name: &str| ROOMS.iter().find(|(room, _, _)| *room == name).and_then(|room| room.1);
    for (room, own, imports) in ROOMS {
        for import in imports {
            if let (Some(own), Some(below)) = (own, floor(import)) {
                assert!(below < own, "{room} on floor {own} imports {import} on {below}");
            }
        }
    }
    let pure: Vec<&str> =
        ROOMS.iter().filter(|(_, floor, _)| floor.is_some_and(|n| n <= 4)).map(|r| r.0).collect();
    assert_eq!(pure, PURE);
}

#[test]
fn nothing_banned_is_in_the_tree() {
    let lock = fs::read_to_string(tests::workspace().join("Cargo.lock"));
    let tree = reachable(&lock.expect("Cargo.lock is committed"), "ringpost");
    assert!(tree.contains("runtime"), "the lock file was not understood");
    let banned = BANNED.iter().filter(|(name, _)| tree.contains(*name));
    report(banned.map(|(name, why)| format!("{name} is in the tree of ringpost: {why}")).collect());
}

fn check(room: &str, manifest: &str) -> Vec<String> {
    let (_, _, imports) = ROOMS.iter().find(|(name, _, _)| *name == room).expect("a known room");
    let mut breaches = Vec::new();
    for (section, name) in dependencies(manifest) {
        let testing = section.starts_with("dev-") || room == "tests";
        let is_room = ROOMS.iter().any(|(other, _, _)| *other == name);
        let outside = OUTSIDE.iter().find(|(crate_name, _, _)| *crate_name == name);
        let for_tests = testing && TESTING.iter().any(|(crate_name, _)| *crate_name == name);
        let allowed = if is_room {
            imports.contains(&name.as_str())
        } else {
            for_tests || outside.is_some_and(|(_, rooms, _)| testing || rooms.contains(&room))
        };
        if !allowed {
            breaches.push(format!(
                "{room} imports {name} ([{section}]): name the edge and its reason in \
                 tests/tidy/floors.rs and the map, or drop it"
            ));
        }
    }
    let forbids = manifest.contains("[lints]\nworkspace = true")
        || manifest.contains("unsafe_code = \"forbid\"");
    if !forbids && !["segment", "runtime"].contains(&room) {
        breaches.push(format!("{room} does not take the lints of the workspace"));
    }
    breaches
}

/// Section and name of every dependency of a manifest.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut section = String::new();
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if section.ends_with("dependencies") && !line.trim().is_empty() {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if !name.is_empty() && !name.starts_with('#') {
                found.push((section.clone(), name.to_owned()));
            }
        }
    }
    found
}

/// Names of all packages that `from` leads to in a lock file, with itself.
fn reachable(lock: &str, from: &str) -> BTreeSet<String> {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut package = "";
    for line in lock.lines() {
        if let Some(name) = line.strip_prefix("name = ") {
            package = name.trim_matches('"');
            edges.entry(package).or_default();
        } else if let Some(name) = line.strip_prefix(" \"") {
            let name = name.split(['"', ' ']).next().unwrap_or_default();
            edges.entry(package).or_default().push(name);
        }
    }
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(name) = next.pop() {
        if edges.contains_key(name) && seen.insert(name.to_owned()) {
            next.extend(edges[name].iter());
        }
    }
    seen
}

#[test]
fn a_wrong_edge_is_found() {
    let manifest = |section: &str, name: &str| {
        format!("[{section}]\nbase.workspace = true\n{name} = \"1\"\n\n[lints]\nworkspace = true\n")
    };
    assert_eq!(check("mail", &manifest("dependencies", "idna")).len(), 0);
    assert_eq!(check("mail", &manifest("dependencies", "smtp")).len(), 1, "a higher floor");
    assert_eq!(check("mail", &manifest("dependencies", "rustls")).len(), 1, "not its business");
    assert_eq!(check("mail", &manifest("dependencies", "regex")).len(), 1, "unknown");
    assert_eq!(check("mail", &manifest("dependencies", "proptest")).len(), 1, "tests only");
    assert_eq!(check("mail", &manifest("dev-dependencies", "proptest")).len(), 0);
    assert_eq!(check("base", "[dependencies]\n").len(), 1, "without the lints");
}

#[test]
fn what_a_lock_file_leads_to_is_found() {
    let lock = "[[package]]\nname = \"a\"\ndependencies = [\n \"b\",\n \"c 1.0.0\",\n]\n\n\
                [[package]]\nname = \"b\"\n\n[[package]]\nname = \"c\"\ndependencies = [\n \"tokio\",\n]\n\n\
                [[package]]\nname = \"tokio\"\n\n[[package]]\nname = \"other\"\n";
    let tree: Vec<String> = reachable(lock, "a").into_iter().collect();
    assert_eq!(tree, ["a", "b", "c", "tokio"]);
    assert_eq!(reachable(lock, "b").len(), 1);
}
