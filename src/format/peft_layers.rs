//! Which layers an adapter is on, and with which rank and alpha: PEFT's patterns.

use std::collections::BTreeMap;

// On bytes: tables of Unicode's classes would be far larger than a configuration.
use regex::bytes::{Regex, RegexBuilder};

use super::json::Object;
use super::peft_config::AdapterConfig;
use crate::error::Result;

/// A key of `rank_pattern` or `alpha_pattern`.
///
/// **Source** `get_pattern_key` of PEFT: a key that starts with `^` matches from the module's beginning, any other one
/// its end, after a dot.
fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    let whole = match pattern.starts_with('^') {
        true => pattern.to_owned(),
        false => format!(r"^(.*\.)?({pattern})$"),
    };
    RegexBuilder::new(&whole).unicode(false).size_limit(1 << 16).build()
}

/// Whether a key is a name, or the end of one.
fn plain(key: &str) -> bool {
    key.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
}

/// Whether a pattern's key means a module (`model.layers.0.self_attn.q_proj`).
pub(super) fn matches(key: &str, module: &str) -> bool {
    if plain(key) {
        // Dots match themselves: no module differs from another in that place only.
        return module.strip_suffix(key).is_some_and(|s| s.is_empty() || s.ends_with('.'));
    }
    match key.strip_prefix('^').filter(|key| plain(key)) {
        Some(key) => module.starts_with(key),
        None => compile(key).is_ok_and(|regex| regex.is_match(module.as_bytes())),
    }
}

/// The layer number in `model.layers.3.self_attn.q_proj`.
fn layer_of(module: &str) -> Option<usize> {
    module.split('.').find_map(|part| part.parse().ok())
}

impl AdapterConfig {
    /// Whether a module (`model.layers.0.self_attn.q_proj`) carries an adapter: it is one of `target_modules` in one
    /// of `layers_to_transform`.
    pub fn covers(&self, module: &str) -> bool {
        let in_layer = |layers: &Vec<usize>| layer_of(module).is_some_and(|l| layers.contains(&l));
        self.target_modules.contains(module)
            && self.layers_to_transform.as_ref().is_none_or(in_layer)
    }

    /// The rank of a module's pair: the first matching entry of `rank_pattern`, or `r`.
    pub fn rank_of(&self, module: &str) -> usize {
        let found = self.rank_pattern.iter().find(|(key, _)| matches(key, module));
        found.map_or(self.rank, |(_, rank)| *rank)
    }

    /// The factor of a module's `B·A`: `alpha/R`, or `alpha/√R` with rsLoRA, after `rank_pattern` and `alpha_pattern`.
    pub fn scaling_of(&self, module: &str) -> f64 {
        let found = self.alpha_pattern.iter().find(|(key, _)| matches(key, module));
        let alpha = found.map_or(self.alpha, |(_, alpha)| *alpha);
        let rank = self.rank_of(module) as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// The largest rank of any of the seven layers of any block.
    pub fn largest_rank(&self) -> usize {
        self.rank_pattern.values().copied().fold(self.rank, usize::max)
    }
}

/// The entries of `rank_pattern` or `alpha_pattern`.
pub(super) fn pattern<'a, T>(
    o: &Object<'a>,
    key: &str,
    value: impl Fn(&Object<'a>, &str) -> Result<Option<T>>,
) -> Result<BTreeMap<String, T>> {
    let Some(entries) = o.object(key)? else { return Ok(Default::default()) };
    let mut out = BTreeMap::new();
    for name in entries.keys() {
        check_pattern(name).map_err(|why| o.error(key, why))?;
        let found = value(&entries, name)?;
        out.insert(
            name.to_owned(),
            found.ok_or_else(|| entries.error(name, "should be a number"))?,
        );
    }
    Ok(out)
}

/// Whether a pattern can be used, and why not.
pub(crate) fn check_pattern(name: &str) -> Result<(), String> {
    if plain(name.strip_prefix('^').unwrap_or(name)) {
        return Ok(());
    }
    let fine = compile(name).map(drop);
    fine.map_err(|_| {
        format!("`{name}` is no module name and no regular expression that works here")
    })
}

/// `layers_to_transform`: a number or a list of numbers.
pub(super) fn layers(o: &Object<'_>) -> Result<Option<Vec<usize>>> {
    const KEY: &str = "layers_to_transform";
    if o.get(KEY).is_none() {
        return Ok(None);
    }
    let layers: Vec<usize> = o.tokens(KEY)?.into_iter().map(|n| n as usize).collect();
    if layers.is_empty() {
        return Ok(None);
    }
    let pattern = o.get("layers_pattern");
    let usual = |v: &serde_json::Value| match v {
        serde_json::Value::String(s) => s == "layers",
        serde_json::Value::Array(a) => a.iter().all(|v| v == "layers"),
        _ => false,
    };
    match pattern.filter(|v| !usual(v)) {
        Some(other) => Err(o.unsupported("layers_pattern", other, "null and \"layers\" work")),
        None => Ok(Some(layers)),
    }
}
