//! `ringpost check`: says what is wrong with a configuration, and where.

use std::path::Path;
use std::process::ExitCode;

use crate::load;
use crate::print::put;

/// Exit 0 when the daemon would take the file, 1 when not, 2 when there is no
/// such file.
pub fn run(file: &Path) -> ExitCode {
    match load::configuration(Some(file)) {
        Ok(config) => {
            let warned = config.warnings.iter();
            let mut said: String =
                warned.map(|warning| format!("{}: {warning}\n", file.display())).collect();
            said += &format!("{}: good\n", file.display());
            put(&said).map_or_else(|code| code, |()| ExitCode::SUCCESS)
        }
        Err(error @ load::LoadError::Unreadable(..)) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) => put(&format!("{error}\n")).map_or_else(|code| code, |()| ExitCode::from(1)),
    }
}
