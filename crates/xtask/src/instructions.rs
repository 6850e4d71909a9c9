//! Counts the instructions of the hot pieces with valgrind, which repeat where
//! times do not, and keeps them as a table: `benches/INSTRUCTIONS.md`.
//!
//! Each piece is run so many times and then twice as often; the difference is
//! what it takes without start and preparation. Never decides whether a count
//! is good: it stands in the diff of the commit that changes it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

const TABLE: &str = "benches/INSTRUCTIONS.md";
/// Runs of the shorter measurement.
const TIMES: u64 = 20;
/// Far too long under valgrind; criterion times it.
const LEFT_OUT: &str = "shard_steps";

/// Counts all pieces and writes the table.
///
/// # Errors
/// cargo or valgrind cannot be run, or say nothing that can be read.
pub fn write(root: &Path) -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--release", "--quiet", "--package", "benches", "--bin", "piece"];
    if !Command::new(&cargo).current_dir(root).args(build).status()?.success() {
        return Err(io::Error::other("the pieces cannot be built"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = root.join(target).join("release/piece");
    let mut table = String::from(HEAD);
    let list = said(Command::new(&program))?;
    for (name, what) in list.lines().filter_map(|line| line.split_once(' ')) {
        if name == LEFT_OUT {
            continue;
        }
        let once = count(&program, name, TIMES)?;
        let twice = count(&program, name, 2 * TIMES)?;
        let each = twice.saturating_sub(once) / TIMES;
        writeln!(table, "| `{name}` | {} | {what} |", grouped(each)).expect("a String grows");
        println!("{name:<18} {:>12}", grouped(each));
    }
    fs::write(root.join(TABLE), table)
}

const HEAD: &str = "# Instructions

What one run of each hot piece takes, counted by valgrind, which repeats to a few in a thousand on one compiler and
processor. Written by `cargo xtask instructions`; a commit that changes a count shows it here.

| Piece | Instructions | One run |
|---|--:|---|
";

/// Instructions of the whole program.
fn count(program: &Path, name: &str, times: u64) -> io::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    let output = valgrind.arg(program).args([name, &times.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    read(&text).ok_or_else(|| io::Error::other(format!("valgrind counted nothing: {text}")))
}

/// The count in what cachegrind says.
fn read(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("I refs:").or_else(|| text.split_once("I   refs:"))?;
    let digits: String =
        rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    digits.replace(',', "").parse().ok()
}

fn said(mut command: Command) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&command.output()?.stdout).into_owned())
}

/// `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_and_written_in_groups() {
        assert_eq!(read("==7== I refs:        1,234,567\n"), Some(1_234_567));
        assert_eq!(read("==7== I   refs:      890\n"), Some(890));
        assert_eq!(read("==7== ERROR\n"), None);
        assert_eq!([7, 1_234, 1_234_567].map(grouped), ["7", "1 234", "1 234 567"]);
    }
}
