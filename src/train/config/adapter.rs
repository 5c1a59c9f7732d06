//! Going on with an adapter that PEFT, or an earlier run, has saved.

use std::collections::BTreeSet;

use super::TrainConfig;
use crate::format::{AdapterFile, Module, TargetModules};
use crate::{Error, Result};

impl TrainConfig {
    /// These settings with the adapter's: rank, alpha, dropout, layers, patterns, rsLoRA, DoRA.
    ///
    /// **Errors** [`Error::Unsupported`] where its layers do not all have the same modules.
    pub fn with_adapter(&self, file: &AdapterFile) -> Result<TrainConfig> {
        let its = &file.config;
        let known = |name: &String| Module::NAMES.contains(&name.as_str());
        let whole = its.exclude_modules.is_none() && its.layers_pattern.is_empty();
        let (target_modules, layers_to_transform) = match &its.target_modules {
            TargetModules::AllLinear if whole => {
                (TargetModules::all_linear(), its.layers_to_transform.clone())
            }
            TargetModules::Named(names) if whole && names.iter().all(known) => {
                (TargetModules::new(names), its.layers_to_transform.clone())
            }
            _ => from_layers(file)?,
        };
        Ok(TrainConfig {
            rank: its.rank,
            lora_alpha: its.alpha,
            lora_dropout: its.dropout,
            target_modules,
            rank_pattern: its.rank_pattern.clone(),
            alpha_pattern: its.alpha_pattern.clone(),
            layers_to_transform,
            use_rslora: its.use_rslora,
            use_dora: its.use_dora,
            ..self.clone()
        })
    }

    /// Whether these settings describe this adapter, so that training goes on from what it
    /// computes.
    ///
    /// **Errors** [`Error::Invalid`] with the first setting that is another.
    pub fn check_adapter(&self, file: &AdapterFile) -> Result<()> {
        let (its, ours) = (&file.config, self.adapter_config());
        let differs = |what: &str, a: String, b: String| {
            let why = format!(
                "the adapter has {what} {a}, the settings say {b}; leave the setting out, or begin without the adapter"
            );
            Err(Error::invalid("init_adapter", why))
        };
        if its.use_dora != ours.use_dora {
            return differs("use_dora", its.use_dora.to_string(), ours.use_dora.to_string());
        }
        for module in file.modules() {
            if !ours.covers(module) {
                return differs("a pair for", module.into(), "not to train this layer".into());
            }
            let (a, b) = (its.rank_of(module), ours.rank_of(module));
            if a != b {
                return differs(&format!("for {module} the rank"), a.to_string(), b.to_string());
            }
            let (a, b) = (its.scaling_of(module), ours.scaling_of(module));
            if (a - b).abs() > 1e-9 * a.abs() {
                return differs(&format!("for {module} the scale"), a.to_string(), b.to_string());
            }
        }
        Ok(())
    }
}

/// Modules and layers from the names of the pairs, where the configuration names them in full or by
/// a pattern.
fn from_layers(file: &AdapterFile) -> Result<(TargetModules, Option<Vec<usize>>)> {
    let parts = |path: &str| -> Option<(usize, String)> {
        let mut parts = path.strip_prefix("model.layers.")?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next_back()?.to_owned()))
    };
    let pairs: BTreeSet<(usize, String)> = file.modules().into_iter().filter_map(parts).collect();
    let layers: BTreeSet<usize> = pairs.iter().map(|(layer, _)| *layer).collect();
    let names: BTreeSet<&String> = pairs.iter().map(|(_, name)| name).collect();
    if pairs.is_empty() || pairs.len() != layers.len() * names.len() {
        return Err(Error::Unsupported {
            what: "to go on with an adapter whose layers do not all have the same modules".into(),
            hint: "merge it into the model and train a new one".into(),
        });
    }
    Ok((TargetModules::new(names), Some(layers.into_iter().collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::AdapterConfig;

    fn file(targets: &[&str], modules: &[&str]) -> AdapterFile {
        let names = targets.iter().map(|name| (*name).to_owned()).collect();
        let config = AdapterConfig {
            rank: 2,
            alpha: 4.0,
            target_modules: TargetModules::Named(names),
            rank_pattern: [("layers.1.self_attn.v_proj".to_owned(), 3)].into(),
            ..AdapterConfig::default()
        };
        let tensor = |module: &&str| {
            let key = format!("base_model.model.model.layers.{module}.lora_A.weight");
            (key, (vec![2, 1], vec![0.0; 2]))
        };
        AdapterFile { config, tensors: modules.iter().map(tensor).collect() }
    }

    #[test]
    fn settings_come_from_the_adapter() {
        let both = [
            "0.self_attn.q_proj",
            "0.self_attn.v_proj",
            "1.self_attn.q_proj",
            "1.self_attn.v_proj",
        ];
        let adapter = file(&["q_proj", "v_proj"], &both);
        let config = TrainConfig::default().with_adapter(&adapter).unwrap();
        assert_eq!(
            (config.rank, config.lora_alpha, config.layers_to_transform.clone()),
            (2, 4.0, None)
        );
        config.check_adapter(&adapter).unwrap();
        // Named in full, or one by one.
        let adapter = file(&["layers.1.self_attn.q_proj"], &both[2..3]);
        let config = TrainConfig::default().with_adapter(&adapter).unwrap();
        assert_eq!(config.target_modules, TargetModules::new(["q_proj"]));
        assert_eq!(config.layers_to_transform, Some(vec![1]));
        config.check_adapter(&adapter).unwrap();
        let uneven = file(&["layers.1.self_attn.q_proj", "self_attn.v_proj"], &both[1..]);
        let why = TrainConfig::default().with_adapter(&uneven).unwrap_err().to_string();
        assert!(why.contains("same modules"), "{why}");
    }

    #[test]
    fn settings_that_are_not_the_adapters_are_named() {
        let adapter = file(&["q_proj"], &["0.self_attn.q_proj"]);
        let config = TrainConfig::default().with_adapter(&adapter).unwrap();
        let why = |config: TrainConfig| config.check_adapter(&adapter).unwrap_err().to_string();
        assert!(
            why(TrainConfig { rank: 8, ..config.clone() }).contains("rank 2, the settings say 8")
        );
        assert!(why(TrainConfig { lora_alpha: 8.0, ..config.clone() }).contains("scale 2"));
        assert!(why(TrainConfig { use_dora: true, ..config.clone() }).contains("use_dora false"));
        let target_modules = TargetModules::new(["v_proj"]);
        assert!(why(TrainConfig { target_modules, ..config }).contains("not to train"));
    }
}
