//! Variables of ours that are not understood: what the launcher and `doctor` say of them.

use std::os::unix::ffi::OsStrExt;

use jsshim_engine::settings::complaint;

use crate::variables::VARIABLES;

/// A line for each.
pub fn complaints() -> Vec<String> {
    let ours = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with("JSSHIM_"))?;
        let said = complaint(format!("{name}=").as_bytes(), value.as_bytes());
        said.map(|text| String::from_utf8_lossy(text).into_owned()).or_else(|| misspelt(&name))
    });
    ours.collect()
}

/// Is it like the name of one, but none?
fn misspelt(name: &str) -> Option<String> {
    let names = || VARIABLES.iter().filter_map(|(name, _)| name.split('=').next());
    if names().any(|known| known == name) {
        return None;
    }
    let meant = names().find(|known| strsim::damerau_levenshtein(known, name) == 1)?;
    Some(format!("{name} is no variable of jsshim; did you mean {meant}?"))
}
