//! The demo's last line is a check that can fail: with a fault switched on, the
//! message that was lost, doubled or altered is found and the exit code says
//! so.

use std::process::Command;

fn demo(fault: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(tests::ringpost());
    command.args(["demo", "--messages", "400", "--domains", "20"]);
    if let Some(fault) = fault {
        command.args(["--fault", fault]);
    }
    let output = command.output().expect("the program can be run");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_whole_run_ends_well() {
    let (code, said) = demo(None);
    assert!(said.contains("all 400 promised deliveries arrived exactly once"), "{said}");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_fault_is_found_and_told() {
    for (fault, found) in [
        ("lose", "1 missing, 0 doubled, 0 altered"),
        ("double", "0 missing, 1 doubled, 0 altered"),
        ("alter", "0 missing, 0 doubled, 1 altered"),
    ] {
        let (code, said) = demo(Some(fault));
        assert!(said.contains(found), "{fault}: {said}");
        assert_eq!(code, Some(1), "{fault}: {said}");
    }
}
