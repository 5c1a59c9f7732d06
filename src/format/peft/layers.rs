//! Which layers an adapter is on, and with which rank and alpha.

use super::config::AdapterConfig;
use super::targets::{TargetModules, ends_in};

impl AdapterConfig {
    /// Whether a module (`model.layers.0.self_attn.q_proj`) carries an adapter: it is one of
    /// `target_modules` in one of `layers_to_transform`, and none of `exclude_modules`.
    ///
    /// **Source** `check_target_module_exists` of PEFT.
    pub fn covers(&self, module: &str) -> bool {
        let excluded = self.exclude_modules.as_ref().is_some_and(|them| them.contains(module));
        !excluded
            && self.target_modules.contains(module)
            && (self.target_modules.lists(module) || self.in_layers(module))
    }

    fn in_layers(&self, module: &str) -> bool {
        let Some(layers) = &self.layers_to_transform else { return true };
        let number = match self.layers_pattern.as_slice() {
            [] => block_of(module),
            // The first that fits, whether it found a number or not.
            patterns => patterns.iter().find_map(|p| p.block(module)).flatten(),
        };
        number.is_some_and(|number| layers.contains(&number))
    }

    /// The rank of a module's pair: the first matching entry of `rank_pattern`, or `r`.
    pub fn rank_of(&self, module: &str) -> usize {
        self.rank_pattern.get(module).copied().unwrap_or(self.rank)
    }

    /// The factor of a module's `B·A`: `alpha/R`, or `alpha/√R` with rsLoRA, after `rank_pattern`
    /// and `alpha_pattern`.
    pub fn scaling_of(&self, module: &str) -> f64 {
        let alpha = self.alpha_pattern.get(module).copied().unwrap_or(self.alpha);
        let rank = self.rank_of(module) as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// The largest rank of any of the seven layers of any block.
    pub fn largest_rank(&self) -> usize {
        self.rank_pattern.iter().map(|(_, rank)| *rank).fold(self.rank, usize::max)
    }

    /// Patterns, names and numbers of these settings that mean none of the adapted modules: a line
    /// for each kind.
    pub fn without_effect(&self, modules: &[impl AsRef<str>]) -> Vec<String> {
        let meant = |one: &dyn Fn(&str) -> bool| modules.iter().any(|m| one(m.as_ref()));
        let mut lines = Vec::new();
        let mut say = |key: &str, which: Vec<String>| {
            if !which.is_empty() {
                let which = which.join("`, `");
                lines.push(format!("{key}: `{which}` matches none of the adapter's layers"));
            }
        };
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        if let TargetModules::Named(names) = &self.target_modules {
            let idle = names.iter().filter(|name| !meant(&|module| ends_in(module, name)));
            say("target_modules", idle.cloned().collect());
        }
        let layers = self.layers_to_transform.iter().flatten();
        let idle = layers.filter(|layer| !meant(&|module| block_of(module) == Some(**layer)));
        say("layers_to_transform", idle.map(usize::to_string).collect());
        say("rank_pattern", owned(self.rank_pattern.unmatched(modules)));
        say("alpha_pattern", owned(self.alpha_pattern.unmatched(modules)));
        lines
    }
}

/// The first number between dots that has two names before it: that of the block.
fn block_of(module: &str) -> Option<usize> {
    let parts: Vec<&str> = module.split('.').collect();
    let inner = parts.get(2..parts.len().saturating_sub(1))?;
    let number =
        inner.iter().find(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()))?;
    number.parse().ok()
}
