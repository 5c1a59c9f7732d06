//! The keys of PEFT's configuration that are not settings here: refused, named, or without meaning.
//!
//! **Source** the fields of `LoraConfig` and `PeftConfig` of PEFT 0.21, and what `LoraModel` makes
//! of them.

use serde_json::Value;

use super::super::json::Object;
use crate::error::Result;

/// Settings that [`super::AdapterConfig`] has.
const READ: [&str; 14] = [
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "exclude_modules",
    "rank_pattern",
    "alpha_pattern",
    "layers_to_transform",
    "layers_pattern",
    "use_rslora",
    "use_dora",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
];

/// What says where the adapter comes from, or belongs to a setting that is refused.
const SILENT: [&str; 5] =
    ["auto_mapping", "peft_version", "revision", "megatron_core", "qalora_group_size"];

/// The one kind of adapter.
const KIND: (&str, &str) = ("peft_type", "LORA");

/// Which of the model's biases were trained beside. They are tensors of the file, and a model
/// without biases has none.
const BIASES: [&str; 3] = ["none", "all", "lora_only"];

/// What an adapter may be made for; PEFT computes the same for each.
const TASKS: [&str; 6] =
    ["CAUSAL_LM", "SEQ_CLS", "SEQ_2_SEQ_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"];

const MERGE: &str = "PEFT can merge it: PeftModel.from_pretrained(…).merge_and_unload().save_pretrained(…); give \
                     that as the model";

/// A switch of which only false is done here.
const BIAS: &str = "lora_bias";

/// What changes the model in a way that is not done here, unless it is absent, null or empty.
const REFUSED: [&str; 5] = [
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "megatron_config",
];

/// Kinds of LoRA that an object switches on, be it empty.
const KINDS: [&str; 5] =
    ["velora_config", "monteclora_config", "arrow_config", "kasa_config", "use_bdlora"];

/// What only matters while an adapter is made or runs, or for layers that no adapter here has.
const IDLE: [(&str, &str); 8] = [
    ("loftq_config", "it is of use while an adapter is made"),
    ("eva_config", "it is of use while an adapter is made"),
    ("corda_config", "it is of use while an adapter is made"),
    ("lora_ga_config", "it is of use while an adapter is made"),
    ("use_qalora", "it is of use on weights of GPTQ"),
    ("runtime_config", "PEFT does not take it from a file"),
    ("fan_in_fan_out", "these layers are linear ones, for which PEFT takes false"),
    ("ensure_weight_tying", "the adapter is on no tied weight"),
];

/// Whether a value says something: PEFT asks the same of it.
fn filled(value: &Value) -> bool {
    match value {
        Value::Array(a) => !a.is_empty(),
        Value::Object(m) => !m.is_empty(),
        Value::Bool(b) => *b,
        _ => true,
    }
}

/// Which of the model's biases were trained beside.
pub(super) fn bias(o: &Object<'_>) -> Result<&'static str> {
    const KEY: &str = "bias";
    let named = o.string(KEY)?.unwrap_or(BIASES[0]);
    BIASES
        .into_iter()
        .find(|bias| *bias == named)
        .ok_or_else(|| o.unsupported(KEY, named, &format!("PEFT knows {}", BIASES.join(", "))))
}

/// What PEFT can do and we cannot is refused by name, never ignored.
pub(super) fn refuse(o: &Object<'_>) -> Result<()> {
    let (key, works) = KIND;
    if let Some(value) = o.string(key)?.filter(|v| *v != works) {
        return Err(o.unsupported(key, value, &format!("{works} works")));
    }
    if let Some(task) = o.string("task_type")?.filter(|task| !TASKS.contains(task)) {
        return Err(o.unsupported("task_type", task, &format!("PEFT knows {}", TASKS.join(", "))));
    }
    if o.bool(BIAS)? == Some(true) {
        return Err(o.unsupported(BIAS, true, "false works; train the adapter without it"));
    }
    for key in REFUSED {
        if let Some(value) = o.get(key).filter(|v| filled(v)) {
            return Err(o.unsupported(key, value, MERGE));
        }
    }
    for key in KINDS {
        if let Some(value) = o.get(key).filter(|v| **v != Value::Bool(false)) {
            return Err(o.unsupported(key, value, MERGE));
        }
    }
    if let Some(value) = o.get("modules_to_save").filter(|v| filled(v)) {
        let hint = format!(
            "these layers are trained whole, as full copies beside the adapter, and only LoRA's pairs are kept here. \
             {MERGE}"
        );
        return Err(o.unsupported("modules_to_save", value, &hint));
    }
    initial(o)
}

/// `init_lora_weights`: some ways to begin change the base weights too, so the adapter alone is not
/// enough.
fn initial(o: &Object<'_>) -> Result<()> {
    const KEY: &str = "init_lora_weights";
    let Some(init) = o.get(KEY).and_then(Value::as_str) else {
        return o.bool(KEY).map(drop);
    };
    let small = init.to_ascii_lowercase();
    if ["gaussian", "eva", "orthogonal", "mica"].contains(&small.as_str()) {
        return Ok(());
    }
    let hint = "it changes the base weights too; convert the adapter to plain LoRA when saving it with PEFT \
                (path_initial_model_for_weight_conversion)";
    Err(o.unsupported(KEY, init, hint))
}

/// What is there and changes nothing: a line each.
pub(super) fn notes(o: &Object<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(task) = o.get("task_type").and_then(Value::as_str).filter(|t| *t != TASKS[0]) {
        notes.push(format!(
            "adapter_config.json: `task_type` = {task} changes nothing: the model goes on as a language model"
        ));
    }
    for (key, why) in IDLE {
        if o.get(key).is_some_and(filled) {
            notes.push(format!("adapter_config.json: `{key}` changes nothing: {why}"));
        }
    }
    let known = |key: &str| {
        READ.contains(&key)
            || SILENT.contains(&key)
            || key == KIND.0
            || REFUSED.contains(&key)
            || KINDS.contains(&key)
            || ["task_type", "modules_to_save", "bias", BIAS].contains(&key)
            || IDLE.iter().any(|(name, _)| *name == key)
    };
    let unknown: Vec<&str> = o.keys().filter(|key| !known(key)).collect();
    if !unknown.is_empty() {
        let which = unknown.join("`, `");
        notes.push(format!(
            "adapter_config.json: `{which}`: PEFT 0.21 does not know it and leaves it out"
        ));
    }
    notes
}
