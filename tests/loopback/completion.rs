//! Completion of the verbs in a real bash, and scripts for the other shells.

use std::process::Command;

use crate::support::process::{Scratch, installed, run};

/// What bash would offer behind these words; the last one is being typed.
fn offered(words: &[&str]) -> Vec<String> {
    let scratch = Scratch::new();
    let program = tests::ringpost();
    let script = run(Command::new(&program).args(["completion", "bash"]), "ringpost");
    let script = scratch.write("ringpost.bash", &script);
    let asks = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))
        complete -p ringpost > /dev/null || exit 1
        _ringpost ringpost \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new(installed("bash", "bash"));
    bash.args(["--norc", "-c", asks, "bash"]).arg(script).args(words);
    run(&mut bash, "bash").lines().map(str::to_owned).collect()
}

/// Shows: S2.27
#[test]
fn bash_completes_verbs_and_their_options() {
    assert_eq!(offered(&["ringpost", "sus"]), ["suspend"]);
    assert_eq!(offered(&["ringpost", "queue", "rer"]), ["reroute"]);
    assert_eq!(offered(&["ringpost", "config", "commit", "--conf"]), ["--confirm"]);
    let shells = offered(&["ringpost", "completion", ""]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(shells.iter().any(|offer| offer == shell), "{shells:?}");
        let script = Command::new(tests::ringpost()).args(["completion", shell]).output();
        let script = String::from_utf8(script.expect("the program runs").stdout).expect("text");
        assert!(script.contains("credentials") && script.contains("reroute"), "{shell}");
    }
}
