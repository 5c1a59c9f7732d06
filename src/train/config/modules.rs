//! `target_modules` in `run.toml`: a list of names, or one text with commas, or `all-linear`;
//! written as a list.

use crate::format::TargetModules;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of module names, or \"all-linear\"")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TargetModules, D::Error> {
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(text) => TargetModules::new([text]),
        OneOrMany::Many(names) => TargetModules::new(names),
    })
}

pub(super) fn serialize<S: Serializer>(modules: &TargetModules, to: S) -> Result<S::Ok, S::Error> {
    modules.names().serialize(to)
}
