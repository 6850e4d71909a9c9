//! `ringpost check`: says what is wrong with a configuration, and where.

use std::path::Path;
use std::process::ExitCode;

use crate::load;

/// Exit 0 when the daemon would take the file, 1 when not, 2 when there is no
/// such file.
pub fn run(file: &Path) -> ExitCode {
    match load::configuration(Some(file)) {
        Ok(config) => {
            for warning in &config.warnings {
                println!("{}: {warning}", file.display());
            }
            println!("{}: good", file.display());
            ExitCode::SUCCESS
        }
        Err(error @ load::LoadError::Unreadable(..)) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) => {
            println!("{error}");
            ExitCode::from(1)
        }
    }
}
