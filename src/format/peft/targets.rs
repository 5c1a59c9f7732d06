//! Names of layers: those that an adapter is on, and those that it is not.

use super::pattern::Pattern;
use crate::format::module::Module;

/// Names of modules: those that carry an adapter, or those that do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetModules {
    /// Names, or ends of names: `q_proj` is every layer's `self_attn.q_proj`.
    Named(Vec<String>),
    /// What an expression matches as a whole.
    Pattern(Pattern),
    /// All seven of each block.
    AllLinear,
}

/// Whether a name is a module's, or its end behind a dot.
pub(super) fn ends_in(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

impl TargetModules {
    /// From names, or text such as `q_proj,v_proj`: in the block's order, each once, so that equal
    /// sets compare equal. `all-linear` becomes the seven names.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> TargetModules {
        let mut given = Vec::new();
        for text in names {
            for name in text.as_ref().split(',').map(str::trim).filter(|name| !name.is_empty()) {
                match name {
                    "all-linear" => given.extend(Module::NAMES.map(String::from)),
                    name => given.push(name.to_string()),
                }
            }
        }
        let place = |name: &String| {
            let known = Module::NAMES.iter().position(|known| known == name);
            known.unwrap_or(Module::NAMES.len())
        };
        given.sort_by(|a, b| (place(a), a).cmp(&(place(b), b)));
        given.dedup();
        TargetModules::Named(given)
    }

    /// The seven linear layers, by name.
    pub fn all_linear() -> TargetModules {
        TargetModules::new(Module::NAMES)
    }

    /// The names; of an expression its text.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::AllLinear => Module::NAMES.to_vec(),
            Self::Pattern(pattern) => vec![pattern.text()],
            Self::Named(names) => names.iter().map(String::as_str).collect(),
        }
    }

    /// Whether a module (`model.layers.0.self_attn.q_proj`) is meant.
    pub fn contains(&self, module: &str) -> bool {
        match self {
            Self::AllLinear => Module::NAMES.iter().any(|name| ends_in(module, name)),
            Self::Pattern(pattern) => pattern.matches(module),
            Self::Named(names) => names.iter().any(|name| ends_in(module, name)),
        }
    }

    /// Whether it lists a module by its full name: then `layers_to_transform` does not concern it.
    pub(super) fn lists(&self, module: &str) -> bool {
        matches!(self, Self::Named(names) if names.iter().any(|name| name == module))
    }
}

/// As it is written in `target_modules`; names with commas between them.
impl std::fmt::Display for TargetModules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AllLinear => f.write_str("all-linear"),
            Self::Pattern(pattern) => f.write_str(pattern.text()),
            Self::Named(names) => f.write_str(&names.join(",")),
        }
    }
}
