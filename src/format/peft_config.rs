//! `adapter_config.json`, the settings of a LoRA adapter as PEFT writes them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::json::{self, Object};
use super::peft_layers;
use crate::error::Result;

/// The linear layers of a block.
const ALL_LINEAR: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Which linear layers carry an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetModules {
    /// Names, or ends of names: `q_proj` is every layer's `self_attn.q_proj`.
    Named(Vec<String>),
    /// All seven of each block.
    AllLinear,
}

impl TargetModules {
    /// Whether a module (`model.layers.0.self_attn.q_proj`) is meant: its name is one of these, or ends in `.` and one.
    pub fn contains(&self, module: &str) -> bool {
        match self {
            Self::AllLinear => {
                ALL_LINEAR.iter().any(|name| module.rsplit('.').next() == Some(*name))
            }
            Self::Named(names) => names.iter().any(|name| {
                module.strip_suffix(name.as_str()).is_some_and(|s| s.is_empty() || s.ends_with('.'))
            }),
        }
    }
}

/// `adapter_config.json`. PEFT's name is given where it differs.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// `r`, the rank `R`.
    pub rank: usize,
    /// `lora_alpha`.
    pub alpha: f64,
    /// `lora_dropout`, a probability.
    pub dropout: f64,
    /// Which layers.
    pub target_modules: TargetModules,
    /// Ranks of layers that have another one, by name, end of a name, or regular expression; the first match counts.
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas of layers that have another one.
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Numbers of the blocks with an adapter; `None`: all.
    pub layers_to_transform: Option<Vec<usize>>,
    /// Scale by `alpha/√R` instead of `alpha/R`.
    pub use_rslora: bool,
    /// Split weights into direction and length (DoRA).
    pub use_dora: bool,
    /// The model it belongs to: a name or a folder.
    pub base_model_name_or_path: Option<String>,
    /// Set by PEFT when it saves.
    pub inference_mode: bool,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            dropout: 0.0,
            target_modules: TargetModules::AllLinear,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            layers_to_transform: None,
            use_rslora: false,
            use_dora: false,
            base_model_name_or_path: None,
            inference_mode: true,
        }
    }
}

impl AdapterConfig {
    /// The factor of `B·A`: `alpha/R`, or `alpha/√R` with rsLoRA.
    pub fn scaling(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Reads an `adapter_config.json`; `label` is its name in messages. Fields without meaning here are ignored.
    ///
    /// **Errors** [`Error::Format`](crate::Error::Format) with the key for a missing or mistyped value,
    /// [`Error::Unsupported`](crate::Error::Unsupported) with the key for what would change the result and is not
    /// done here.
    pub fn from_json(label: &str, bytes: &[u8]) -> Result<Self> {
        let value: Value = json::parse(label, bytes)?;
        let o = Object::new(label, &value)?;
        refuse_unsupported(&o)?;
        let rank = o.size("r")?.ok_or_else(|| o.error("r", "is missing"))?;
        let alpha = o.number("lora_alpha")?.ok_or_else(|| o.error("lora_alpha", "is missing"))?;
        let dropout = o.number("lora_dropout")?.unwrap_or(0.0);
        if !(0.0..1.0).contains(&dropout) {
            return Err(o.error("lora_dropout", format!("should be in 0..1, is {dropout}")));
        }
        Ok(Self {
            rank,
            alpha,
            dropout,
            target_modules: targets(&o)?,
            rank_pattern: peft_layers::pattern(&o, "rank_pattern", |o, key| o.size(key))?,
            alpha_pattern: peft_layers::pattern(&o, "alpha_pattern", |o, key| o.number(key))?,
            layers_to_transform: peft_layers::layers(&o)?,
            use_rslora: o.bool("use_rslora")?.unwrap_or(false),
            use_dora: o.bool("use_dora")?.unwrap_or(false),
            base_model_name_or_path: o.string("base_model_name_or_path")?.map(str::to_owned),
            inference_mode: o.bool("inference_mode")?.unwrap_or(false),
        })
    }

    /// The file that PEFT reads. "All linear layers" is written as their seven names, as PEFT does.
    pub fn to_json(&self) -> String {
        let number =
            |v: f64| if v.fract() == 0.0 && v.abs() < 1e9 { json!(v as i64) } else { json!(v) };
        let value = json!({
            "alpha_pattern": self.alpha_pattern,
            "auto_mapping": null,
            "base_model_name_or_path": self.base_model_name_or_path,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": self.inference_mode,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": self.layers_to_transform,
            "lora_alpha": number(self.alpha),
            "lora_dropout": self.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": self.rank_pattern,
            "revision": null,
            "target_modules": match &self.target_modules {
                TargetModules::AllLinear => json!(ALL_LINEAR),
                TargetModules::Named(names) => json!(names),
            },
            "task_type": "CAUSAL_LM",
            "use_dora": self.use_dora,
            "use_rslora": self.use_rslora,
        });
        format!("{value:#}\n")
    }
}

fn targets(o: &Object<'_>) -> Result<TargetModules> {
    const KEY: &str = "target_modules";
    match o.get(KEY) {
        Some(Value::String(s)) if s == "all-linear" => Ok(TargetModules::AllLinear),
        Some(Value::String(s))
            if s.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c)) =>
        {
            // PEFT matches a string against the whole module name, so a plain word is one module.
            Err(o.unsupported(
                KEY,
                format!("\"{s}\" (a pattern)"),
                "write a list: [\"q_proj\", \"v_proj\"]",
            ))
        }
        Some(Value::String(s)) => Err(o.unsupported(
            KEY,
            format!("\"{s}\" (a regular expression)"),
            "a list of module names or \"all-linear\" works",
        )),
        Some(_) => {
            let names = o.strings(KEY)?.unwrap_or_default();
            if names.is_empty() {
                return Err(o.error(KEY, "is an empty list: the adapter has no layers"));
            }
            Ok(TargetModules::Named(names))
        }
        None => Err(o.error(KEY, "is missing")),
    }
}

/// What PEFT can do and we cannot is refused by name, never ignored.
fn refuse_unsupported(o: &Object<'_>) -> Result<()> {
    let fixed = [
        ("peft_type", "LORA", "LORA works"),
        ("task_type", "CAUSAL_LM", "CAUSAL_LM works"),
        ("bias", "none", "bias \"none\" works"),
    ];
    for (key, works, hint) in fixed {
        if let Some(value) = o.string(key)?.filter(|v| *v != works) {
            return Err(o.unsupported(key, value, hint));
        }
    }
    for key in ["fan_in_fan_out", "lora_bias", "use_qalora"] {
        if o.bool(key)? == Some(true) {
            return Err(o.unsupported(key, true, "false works"));
        }
    }
    let filled = |v: &Value| match v {
        Value::Array(a) => !a.is_empty(),
        Value::Object(m) => !m.is_empty(),
        Value::Bool(b) => *b,
        _ => true,
    };
    for key in [
        "exclude_modules",
        "layer_replication",
        "target_parameters",
        "trainable_token_indices",
        "alora_invocation_tokens",
        "use_bdlora",
    ] {
        if let Some(value) = o.get(key).filter(|v| filled(v)) {
            return Err(o.unsupported(key, value, "train the adapter without it (null)"));
        }
    }
    if let Some(value) = o.get("modules_to_save").filter(|v| filled(v)) {
        let hint = "these layers are trained whole, as full copies beside the adapter, and only LoRA's pairs are \
                    kept here; train the adapter without it (null)";
        return Err(o.unsupported("modules_to_save", value, hint));
    }
    // These change the base weights when the adapter is made, so the adapter alone is not enough.
    if let Some(init) = o.get("init_lora_weights").and_then(Value::as_str) {
        let first = init.split('_').next().unwrap_or(init);
        if ["pissa", "olora", "corda", "loftq", "lora"]
            .contains(&first.to_ascii_lowercase().as_str())
        {
            let hint = "it changes the base weights too; convert the adapter to plain LoRA when saving it with PEFT";
            return Err(o.unsupported("init_lora_weights", init, hint));
        }
    }
    Ok(())
}
