//! Runs one piece so many times and nothing else: for valgrind, perf and the
//! like. `piece spool_append 1000`; without arguments it lists all.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = words.as_slice() else {
        for piece in benches::PIECES {
            println!("{} {}", piece.name, piece.what);
        }
        return ExitCode::SUCCESS;
    };
    let piece = benches::PIECES.iter().find(|piece| piece.name == name);
    let (Some(piece), Ok(times)) = (piece, times.parse::<u64>()) else {
        eprintln!("piece NAME TIMES");
        return ExitCode::from(2);
    };
    let mut work = (piece.prepare)();
    for _ in 0..times {
        assert_eq!(std::hint::black_box(work()), piece.count, "{name} has stopped working");
    }
    ExitCode::SUCCESS
}
