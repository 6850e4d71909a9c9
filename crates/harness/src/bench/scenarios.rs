//! The scenarios that come with the program: the files under
//! `benches/scenarios`, carried along so that one file is enough to measure.
//!
//! Never holds one that cannot be read: a test reads all.

use std::fs;
use std::path::Path;

macro_rules! scenarios {
    ($($name:literal)*) => {
        /// Names and texts.
        pub const ALL: &[(&str, &str)] = &[$((
            $name,
            include_str!(concat!("../../../../benches/scenarios/", $name, ".toml")),
        )),*];
    };
}

scenarios! {
    "relay" "relay-50k" "relay-5m" "one-per-connection" "lone-client" "mx-200" "mx-10000"
    "size-mix" "thousand-recipients" "hot-domain" "slow-and-dead" "greylisting" "provider-limit"
    "backlog" "restart" "tls" "soak" "idle"
}

/// The text and the name of a scenario: one of [`ALL`], or a file.
///
/// # Errors
/// Neither; the sentence names all.
pub fn find(named: &str) -> Result<(String, String), String> {
    if let Some((name, text)) = ALL.iter().find(|(name, _)| *name == named) {
        return Ok(((*name).to_owned(), (*text).to_owned()));
    }
    let path = Path::new(named);
    let text = fs::read_to_string(path).map_err(|error| {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        format!("{named} is no file ({error}) and none of {}", names.join(", "))
    })?;
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::Plan;

    #[test]
    fn every_scenario_can_be_read_and_says_what_it_shows() {
        for (name, text) in ALL {
            let plan = Plan::parse(text, &[]).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(plan.about.len() > 20 && plan.about.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn every_file_of_the_folder_is_carried_along() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/scenarios");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(ALL.iter().any(|(known, _)| *known == name), "{name} is not carried along");
        }
        assert!(find("no-such").unwrap_err().contains("mx-200"));
    }
}
