//! PID 1 of the appliance: from the kernel to a running daemon, and back.
//!
//! Order: file systems, modules, the data partition, network, the daemon; then
//! one loop that waits for whatever happens next. One thread, no allocation
//! that grows without bound, no wait without an end but that for the next event.
//! Never decides by itself: what is to be done comes from the library beside it.
//! Whatever cannot be mended ends in a new start of the machine, never in a dead
//! box: a panic here is one of the kernel, which starts anew after five seconds.

mod machine;

use std::process::ExitCode;

use machine::Machine;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        if std::env::args().nth(1).as_deref() == Some(machine::update::ROLE) {
            machine::update::install();
            return ExitCode::SUCCESS;
        }
        machine::complain("this is PID 1 of the Ringpost appliance, and nothing else\n");
        return ExitCode::from(2);
    }
    let mut machine = Machine::begin();
    let why = match machine.start() {
        Ok(()) => machine.run(),
        Err(why) => why,
    };
    machine.end(&why)
}
