//! The daemon that people run has no planted mistakes (`base::planted`): not
//! even the switch for them is in it.

use std::fs;

/// The switch, as it is called in the program's table of symbols.
const SWITCH: &str = "7planted6switch7PLANTED";
/// A name that every build has, so that a table without names is no proof.
const ALWAYS: &str = "5shard4step";

#[test]
fn the_daemon_has_no_planted_mistakes() {
    let program = fs::read(tests::ringpost()).expect("the daemon can be read");
    let names = String::from_utf8_lossy(&program);
    assert!(names.contains(ALWAYS), "the daemon's table of symbols is gone");
    assert!(
        !names.contains(SWITCH),
        "the daemon has the switch for planted mistakes in it: never ship it"
    );
}
