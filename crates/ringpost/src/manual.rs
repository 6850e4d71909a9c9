//! Completion for shells and the manual page, both from the one table of verbs
//! that the program reads its arguments with.
//!
//! The page in the repository is written by `cargo xtask man`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::{Generator, generate, shells};
use clap_mangen::Man;

use crate::Cli;

/// A shell that completion is known for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Zsh
    Zsh,
    /// fish
    Fish,
}

/// `ringpost completion SHELL`
pub fn completion(shell: Shell) -> ExitCode {
    match shell {
        Shell::Bash => write(shells::Bash),
        Shell::Zsh => write(shells::Zsh),
        Shell::Fish => write(shells::Fish),
    }
}

fn write(shell: impl Generator) -> ExitCode {
    let mut text = Vec::new();
    generate(shell, &mut Cli::command(), "ringpost", &mut text);
    printed(&text)
}

/// `ringpost man`
pub fn man() -> ExitCode {
    printed(page().as_bytes())
}

/// A reader that has seen enough is no failure.
fn printed(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(70),
        _ => ExitCode::SUCCESS,
    }
}

/// Exit codes, and where to read on.
const END: &str = ".SH EXIT STATUS
.TP
0
done
.TP
1
the answer is no
.TP
2
wrong usage
.TP
3
the daemon is not there
.TP
4
the daemon refused
.TP
70
a bug of ours
.SH SEE ALSO
`ringpost config help` has every setting with its meaning, values and default.
";

/// One page: the program, then each verb with a section of its own.
fn page() -> String {
    // Fixed, so that the page changes with the verbs alone.
    let mut root = Cli::command().version("0.1");
    root.build();
    let mut out = Vec::new();
    let man = Man::new(root.clone());
    // Writing to a Vec cannot fail.
    let _ = man.render_title(&mut out);
    let _ = man.render_name_section(&mut out);
    let _ = man.render_synopsis_section(&mut out);
    let _ = man.render_description_section(&mut out);
    verbs(&root, "ringpost", &mut out);
    out.extend_from_slice(END.as_bytes());
    let text = String::from_utf8(out).expect("a page made of text is text");
    // Each part brings it; once is enough.
    format!("{QUOTES}{}", text.replace(QUOTES, ""))
}

/// What stands in front of each part: how quotes are written.
const QUOTES: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The sections of all verbs below `command`.
fn verbs(command: &Command, name: &str, out: &mut Vec<u8>) {
    let shown = |verb: &&Command| verb.get_name() != "help" && !verb.is_hide_set();
    for verb in command.get_subcommands().filter(shown) {
        let name = format!("{name} {}", verb.get_name());
        if verb.has_subcommands() {
            verbs(verb, &name, out);
            continue;
        }
        let man = Man::new(verb.clone());
        let mut parts = Vec::new();
        let _ = man.render_synopsis_section(&mut parts);
        let _ = man.render_description_section(&mut parts);
        let _ = man.render_options_section(&mut parts);
        let parts = String::from_utf8_lossy(&parts).replace(".SH ", ".SS ");
        let _ = write!(out, ".SH \"{name}\"\n{parts}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page in the repository is the one that the verbs give.
    ///
    /// Shows: S2.27
    #[test]
    fn the_manual_page_is_up_to_date_and_has_every_verb() {
        let page = page();
        let written = include_str!("../../../docs/ringpost.1");
        assert!(page == written, "docs/ringpost.1 is out of date: run `cargo xtask man`");
        for verb in ["queue list", "config commit", "route add", "credentials", "completion"] {
            assert!(page.contains(&format!(".SH \"ringpost {verb}\"")), "{verb}");
        }
    }
}
