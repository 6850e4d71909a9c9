//! Runs one target over files, on stable Rust: what libFuzzer found, seen by a
//! debugger or a test's message. `replay TARGET FILE…`.

#![expect(clippy::disallowed_methods, reason = "findings are files")]
#![expect(clippy::disallowed_macros, clippy::print_stdout, reason = "for a person's terminal")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let Some(target) = fuzz::target(&name) else {
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        println!("no target is called `{name}`; there are: {}", names.join(" "));
        return ExitCode::from(2);
    };
    for path in words {
        match std::fs::read(&path) {
            Ok(input) => {
                println!("{path}: b\"{}\"", input.escape_ascii());
                (target.run)(&input);
            }
            Err(error) => {
                println!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("no promise is broken");
    ExitCode::SUCCESS
}
