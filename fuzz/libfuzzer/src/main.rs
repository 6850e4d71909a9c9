//! The targets of `fuzz` under libFuzzer: one program, which runs the target
//! that `RINGPOST_FUZZ_TARGET` names. Started by `cargo xtask fuzz`.

#![no_main]

use std::sync::OnceLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("RINGPOST_FUZZ_TARGET").unwrap_or_default();
        fuzz::target(&name).unwrap_or_else(|| panic!("no target has the name `{name}`"))
    });
    (target.run)(data);
});
