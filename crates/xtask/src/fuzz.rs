//! Lets libFuzzer search for inputs that break a promise: builds the targets
//! of `fuzz/` with a nightly compiler and runs them one after the other.
//!
//! Does what cargo-fuzz would, so that nothing needs to be installed for it
//! but that compiler and a C++ one. What a search finds on its way is kept
//! under the build folder; only a person puts an input into `fuzz/corpus`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What cargo-fuzz passes: counters for libFuzzer, and the address sanitizer.
const RUST_FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address";

/// Seconds for each target unless told otherwise.
const SECONDS: u64 = 60;

/// Octets of the longest input tried.
const INPUT_BYTES_MAX: usize = 8_192;

/// Runs the targets named in `words`, all of them if there is none, each for
/// `--seconds N`. True when nothing was found.
///
/// # Errors
/// Why there was no search, in one sentence.
pub fn run(root: &Path, words: &[&str]) -> Result<bool, String> {
    let (names, seconds) = read(root, words)?;
    let triple = nightly()?;
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if !runs(Command::new(&compiler).arg("--version")) {
        return Err(format!("libFuzzer is C++, and there is no C++ compiler `{compiler}` here"));
    }
    let folder = build_folder(root).join("fuzz");
    let program = build(root, &folder, &triple)?;
    let mut findings = 0;
    for name in &names {
        match search(root, &folder, &program, name, seconds) {
            Ok(found) => findings += usize::from(found),
            Err(error) => return Err(format!("{name} could not be run: {error}")),
        }
    }
    println!("{} targets, {seconds} s each: {findings} with a finding", names.len());
    Ok(findings == 0)
}

/// The targets meant, and the seconds for each.
fn read(root: &Path, words: &[&str]) -> Result<(Vec<String>, u64), String> {
    let all = targets(root).map_err(|error| format!("fuzz/corpus cannot be read: {error}"))?;
    let (mut names, mut seconds) = (Vec::new(), SECONDS);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--seconds" {
            let number = words.next().and_then(|number| number.parse().ok());
            seconds = number.ok_or("--seconds takes a number")?;
        } else if all.iter().any(|name| name == word) {
            names.push((*word).to_owned());
        } else {
            return Err(format!("no target is called {word}; there are: {}", all.join(" ")));
        }
    }
    Ok((if names.is_empty() { all } else { names }, seconds))
}

/// Every target has a corpus; a test of `fuzz` holds the two together.
fn targets(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/corpus"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The triple that the nightly compiler builds for.
fn nightly() -> Result<String, String> {
    let missing = || "the search needs a nightly compiler: `rustup toolchain install nightly`";
    let said = Command::new("rustc")
        .args(["+nightly", "--version", "--verbose"])
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .map_err(|_| missing())?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let triple = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.ok_or_else(missing)?.to_owned())
}

fn runs(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn build_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Builds the program that holds all targets.
fn build(root: &Path, folder: &Path, triple: &str) -> Result<PathBuf, String> {
    let built = folder.join("build");
    let package = root.join("fuzz/libfuzzer");
    // The product's own versions, and libFuzzer's added to them.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock"))
        .map_err(|error| format!("the lock file cannot be copied: {error}"))?;
    let status = Command::new("cargo")
        .args(["+nightly", "build", "--quiet", "--release", "--target", triple])
        .current_dir(package)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", RUST_FLAGS)
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("the targets could not be built for libFuzzer".to_owned());
    }
    Ok(built.join(triple).join("release/fuzz-libfuzzer"))
}

/// Searches with one target; whether something was found.
fn search(
    root: &Path,
    folder: &Path,
    program: &Path,
    name: &str,
    seconds: u64,
) -> io::Result<bool> {
    let working = folder.join("corpus").join(name);
    let found = folder.join("findings").join(name);
    let log = folder.join(format!("{name}.log"));
    fs::create_dir_all(&working)?;
    fs::create_dir_all(&found)?;
    let before = files(&found)?;
    let mut command = Command::new(program);
    command
        .arg(&working)
        .arg(root.join("fuzz/corpus").join(name))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-fork=0", "-rss_limit_mb=2048", "-timeout=10", "-detect_leaks=0"])
        .arg("-print_final_stats=1")
        .env("RINGPOST_FUZZ_TARGET", name)
        .stdout(Stdio::null())
        .stderr(File::create(&log)?);
    let dictionary = root.join("fuzz/dictionaries").join(format!("{name}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let passed = command.status()?.success();
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    println!("{name:<16} {}", summary(&text));
    let findings: Vec<PathBuf> =
        files(&found)?.into_iter().filter(|file| !before.contains(file)).collect();
    for finding in &findings {
        println!("  cargo run -p fuzz --example replay -- {name} {}", finding.display());
    }
    if !passed && findings.is_empty() {
        println!("  ended without a finding but not well: {}", log.display());
    }
    Ok(!passed)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// Runs, runs per second, coverage and corpus, out of what libFuzzer said.
fn summary(log: &str) -> String {
    let statistic = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(&format!("stat::{name}:")));
        line.map_or("?", str::trim).to_owned()
    };
    let last = log.lines().rfind(|line| line.contains(" cov: ")).unwrap_or_default();
    let after = |word: &str| last.split(word).nth(1).map_or("?", |rest| word_of(rest)).to_owned();
    format!(
        "{:>10} runs {:>7}/s  edges {:>6}  inputs {:>14}  memory {:>4} MiB",
        statistic("number_of_executed_units"),
        statistic("average_exec_per_sec"),
        after(" cov: "),
        after(" corp: "),
        statistic("peak_rss_mb"),
    )
}

fn word_of(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_search_becomes_one_line() {
        let log = "#2\tINITED cov: 10 ft: 11 corp: 1/1b\n\
            #900\tDONE   cov: 345 ft: 900 corp: 12/3456b lim: 90 exec/s: 450 rss: 50Mb\n\
            stat::number_of_executed_units: 900\nstat::average_exec_per_sec:     450\n\
            stat::peak_rss_mb:              51\n";
        let line = summary(log);
        for word in ["900 runs", "450/s", "345", "12/3456b", "51 MiB"] {
            assert!(line.contains(word), "{word} is not in {line}");
        }
        assert!(summary("").contains('?'));
    }
}
