//! `adapter_config.json`, the settings of a LoRA adapter as PEFT writes them.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::json::{self, Object};
use super::fields;
use super::pattern::{Pattern, PatternMap};
use super::targets::TargetModules;
use crate::error::Result;

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
    /// Which of them not.
    pub exclude_modules: Option<TargetModules>,
    /// Ranks of layers that have another one.
    pub rank_pattern: PatternMap<usize>,
    /// Alphas of layers that have another one.
    pub alpha_pattern: PatternMap<f64>,
    /// Numbers of the blocks with an adapter; `None`: all.
    pub layers_to_transform: Option<Vec<usize>>,
    /// What stands before a block's number; empty: anything.
    pub layers_pattern: Vec<Pattern>,
    /// Scale by `alpha/√R` instead of `alpha/R`.
    pub use_rslora: bool,
    /// Split weights into direction and length (DoRA).
    pub use_dora: bool,
    /// Which of the model's biases were trained beside: `none`, `all` or `lora_only`. Those that
    /// were are tensors of the file.
    pub bias: &'static str,
    /// The model it belongs to: a name or a folder.
    pub base_model_name_or_path: Option<String>,
    /// Set by PEFT when it saves.
    pub inference_mode: bool,
    /// What the file says that changes nothing here or in PEFT, a line each. Not written.
    pub notes: Vec<String>,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            dropout: 0.0,
            target_modules: TargetModules::AllLinear,
            exclude_modules: None,
            rank_pattern: PatternMap::default(),
            alpha_pattern: PatternMap::default(),
            layers_to_transform: None,
            layers_pattern: Vec::new(),
            use_rslora: false,
            use_dora: false,
            bias: "none",
            base_model_name_or_path: None,
            inference_mode: true,
            notes: Vec::new(),
        }
    }
}

/// What PEFT takes for `r` and `lora_alpha` where the file does not say.
const RANK: usize = 8;
const ALPHA: f64 = 8.0;

/// So many names in `target_modules` PEFT replaces by fewer and shorter ones.
const CONDENSED: usize = 20;

impl AdapterConfig {
    /// The factor of `B·A`: `alpha/R`, or `alpha/√R` with rsLoRA.
    pub fn scaling(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Reads an `adapter_config.json`; `label` is its name in messages. What is left out has PEFT's
    /// default.
    ///
    /// **Errors** [`Error::Format`](crate::Error::Format) with the key for a mistyped value,
    /// [`Error::Unsupported`](crate::Error::Unsupported) with the key for what would change the
    /// result and is not done here.
    pub fn from_json(label: &str, bytes: &[u8]) -> Result<Self> {
        let value: Value = json::parse(label, bytes)?;
        let o = Object::new(label, &value)?;
        fields::refuse(&o)?;
        let dropout = o.number("lora_dropout")?.unwrap_or(0.0);
        if !(0.0..1.0).contains(&dropout) {
            return Err(o.error("lora_dropout", format!("should be in 0..1, is {dropout}")));
        }
        // A map of `Value` has forgotten the order.
        o.object("rank_pattern")?;
        o.object("alpha_pattern")?;
        let Patterns { rank_pattern, alpha_pattern } = json::parse(label, bytes)?;
        let config = Self {
            rank: o.size("r")?.unwrap_or(RANK),
            alpha: o.number("lora_alpha")?.unwrap_or(ALPHA),
            dropout,
            target_modules: targets(&o)?,
            exclude_modules: excluded(&o)?,
            rank_pattern: pattern(&o, "rank_pattern", rank_pattern, |o, key| o.size(key))?,
            alpha_pattern: pattern(&o, "alpha_pattern", alpha_pattern, |o, key| o.number(key))?,
            layers_to_transform: layers(&o)?,
            layers_pattern: layers_pattern(&o)?,
            use_rslora: o.bool("use_rslora")?.unwrap_or(false),
            use_dora: o.bool("use_dora")?.unwrap_or(false),
            bias: fields::bias(&o)?,
            base_model_name_or_path: o.string("base_model_name_or_path")?.map(str::to_owned),
            inference_mode: o.bool("inference_mode")?.unwrap_or(false),
            notes: fields::notes(&o),
        };
        config.check_layers(&o)?;
        Ok(config)
    }

    /// What PEFT refuses, too: a pattern of blocks without numbers, or numbers beside an
    /// expression.
    fn check_layers(&self, o: &Object<'_>) -> Result<()> {
        for key in ["layers_to_transform", "layers_pattern"] {
            let expression = o.get("target_modules").is_some_and(Value::is_string);
            if expression && o.get(key).is_some() {
                return Err(o.error(key, "does not go with target_modules that are no list"));
            }
        }
        if !self.layers_pattern.is_empty() && o.get("layers_to_transform").is_none() {
            return Err(o.error("layers_pattern", "needs layers_to_transform beside it"));
        }
        match &self.target_modules {
            TargetModules::Named(names)
                if self.layers_to_transform.is_some()
                    && names.len() >= CONDENSED
                    && names.iter().any(|n| n.contains(".layers.")) =>
            {
                let hint = "PEFT shortens so many names, and then the numbers concern them or not; list the \
                            layers by their names alone";
                Err(o.unsupported("layers_to_transform", "numbers beside full names", hint))
            }
            _ => Ok(()),
        }
    }

    /// The file that PEFT reads. "All linear layers" is written as their seven names, as PEFT does.
    pub fn to_json(&self) -> String {
        let alphas = self.alpha_pattern.iter().map(|(key, alpha)| (key.text(), number(*alpha)));
        // Without numbers PEFT refuses it.
        let pattern = self.layers_pattern.iter().filter(|_| self.layers_to_transform.is_some());
        let pattern: Vec<&str> = pattern.map(Pattern::text).collect();
        let written = Written {
            alpha_pattern: alphas.collect(),
            auto_mapping: (),
            base_model_name_or_path: self.base_model_name_or_path.as_deref(),
            bias: self.bias,
            exclude_modules: self.exclude_modules.as_ref().map(names),
            fan_in_fan_out: false,
            inference_mode: self.inference_mode,
            init_lora_weights: true,
            layers_pattern: (!pattern.is_empty()).then_some(pattern),
            layers_to_transform: self.layers_to_transform.as_deref(),
            lora_alpha: number(self.alpha),
            lora_dropout: self.dropout,
            modules_to_save: (),
            peft_type: "LORA",
            r: self.rank,
            rank_pattern: &self.rank_pattern,
            revision: (),
            target_modules: names(&self.target_modules),
            task_type: "CAUSAL_LM",
            use_dora: self.use_dora,
            use_rslora: self.use_rslora,
        };
        // Numbers, texts and lists: there is nothing that JSON has no form for.
        serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
    }
}

/// The file's keys, in the order in which PEFT writes them.
#[derive(Serialize)]
struct Written<'a> {
    alpha_pattern: PatternMap<Value>,
    auto_mapping: (),
    base_model_name_or_path: Option<&'a str>,
    bias: &'a str,
    exclude_modules: Option<Value>,
    fan_in_fan_out: bool,
    inference_mode: bool,
    init_lora_weights: bool,
    layers_pattern: Option<Vec<&'a str>>,
    layers_to_transform: Option<&'a [usize]>,
    lora_alpha: Value,
    lora_dropout: f64,
    modules_to_save: (),
    peft_type: &'a str,
    r: usize,
    rank_pattern: &'a PatternMap<usize>,
    revision: (),
    target_modules: Value,
    task_type: &'a str,
    use_dora: bool,
    use_rslora: bool,
}

fn number(v: f64) -> Value {
    if v.fract() == 0.0 && v.abs() < 1e9 { json!(v as i64) } else { json!(v) }
}

fn names(modules: &TargetModules) -> Value {
    match modules {
        TargetModules::Pattern(pattern) => json!(pattern.text()),
        list => json!(list.names()),
    }
}

/// The keys of the maps, in the file's order.
#[derive(Deserialize)]
struct Patterns {
    #[serde(default)]
    rank_pattern: Option<PatternMap<IgnoredAny>>,
    #[serde(default)]
    alpha_pattern: Option<PatternMap<IgnoredAny>>,
}

/// The entries of `rank_pattern` or `alpha_pattern`.
fn pattern<'a, T>(
    o: &Object<'a>,
    key: &str,
    order: Option<PatternMap<IgnoredAny>>,
    value: impl Fn(&Object<'a>, &str) -> Result<Option<T>>,
) -> Result<PatternMap<T>> {
    let (Some(entries), Some(order)) = (o.object(key)?, order) else {
        return Ok(Default::default());
    };
    order.try_map(|pattern| {
        pattern.check().map_err(|why| o.error(key, why))?;
        let name = pattern.text();
        value(&entries, name)?.ok_or_else(|| entries.error(name, "should be a number"))
    })
}

/// An expression that is given as a string.
fn expression(o: &Object<'_>, key: &str, text: &str) -> Result<TargetModules> {
    let pattern = Pattern::whole(text);
    pattern.check().map_err(|why| o.error(key, why))?;
    Ok(TargetModules::Pattern(pattern))
}

fn targets(o: &Object<'_>) -> Result<TargetModules> {
    const KEY: &str = "target_modules";
    match o.get(KEY) {
        Some(Value::String(s)) if s.eq_ignore_ascii_case("all-linear") => {
            Ok(TargetModules::AllLinear)
        }
        Some(Value::String(s)) => expression(o, KEY, s),
        Some(_) => {
            let names = o.strings(KEY)?.unwrap_or_default();
            if names.is_empty() {
                return Err(o.error(KEY, "is an empty list: the adapter has no layers"));
            }
            Ok(TargetModules::Named(names))
        }
        // PEFT's choice for Llama, Mistral and Qwen2.
        None => Ok(TargetModules::Named(["q_proj", "v_proj"].map(str::to_owned).into())),
    }
}

fn excluded(o: &Object<'_>) -> Result<Option<TargetModules>> {
    const KEY: &str = "exclude_modules";
    match o.get(KEY) {
        None => Ok(None),
        Some(Value::String(s)) if s.is_empty() => Ok(None),
        Some(Value::String(s)) => expression(o, KEY, s).map(Some),
        Some(_) => {
            let names = o.strings(KEY)?.filter(|names| !names.is_empty());
            Ok(names.map(TargetModules::Named))
        }
    }
}

/// `layers_to_transform`: a number or a list of numbers. No block has one below 0.
fn layers(o: &Object<'_>) -> Result<Option<Vec<usize>>> {
    const KEY: &str = "layers_to_transform";
    let Some(value) = o.get(KEY) else { return Ok(None) };
    let numbers = match value {
        Value::Array(all) if all.is_empty() => return Ok(None),
        Value::Array(all) => all.iter().map(Value::as_i64).collect(),
        one => one.as_i64().map(|n| vec![n]),
    };
    let wrong = || o.error(KEY, format!("should be a number or a list of numbers, is {value}"));
    let numbers: Vec<i64> = numbers.ok_or_else(wrong)?;
    Ok(Some(numbers.into_iter().filter_map(|n| usize::try_from(n).ok()).collect()))
}

/// `layers_pattern`: an expression or a list of them.
fn layers_pattern(o: &Object<'_>) -> Result<Vec<Pattern>> {
    const KEY: &str = "layers_pattern";
    let texts = match o.get(KEY) {
        None => return Ok(Vec::new()),
        Some(Value::String(s)) if s.is_empty() => return Ok(Vec::new()),
        Some(Value::String(s)) => vec![s.clone()],
        Some(_) => o.strings(KEY)?.unwrap_or_default(),
    };
    let checked = |text: String| {
        let pattern = Pattern::layer(text);
        pattern.check().map_err(|why| o.error(KEY, why))?;
        Ok(pattern)
    };
    texts.into_iter().map(checked).collect()
}
