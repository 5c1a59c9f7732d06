//! Names of an adapter's tensors, and what those mean that are none of LoRA's on a linear layer.

use crate::error::Error;

/// What PEFT writes before a module's name.
pub(super) const PREFIX: &str = "base_model.model.";

/// The parts of a pair.
const PARTS: [&str; 3] = [".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"];

const MERGE: &str = "merge it with PEFT (PeftModel.from_pretrained(…).merge_and_unload().save_pretrained(…)) and give \
                     the result as the model";

/// The key as PEFT writes it today: without the adapter's name, which is `default` where a model's
/// own names were saved, and the magnitude as a tensor of the layer, not as the weight of a module.
pub(super) fn normal(key: &str) -> String {
    let strip = |end: &str, part: &str| Some(format!("{}{part}", key.strip_suffix(end)?));
    strip(".lora_A.default.weight", ".lora_A.weight")
        .or_else(|| strip(".lora_B.default.weight", ".lora_B.weight"))
        .or_else(|| strip(".lora_magnitude_vector.default.weight", ".lora_magnitude_vector"))
        .or_else(|| strip(".lora_magnitude_vector.weight", ".lora_magnitude_vector"))
        .unwrap_or_else(|| key.to_owned())
}

/// The module and the part of a pair that a key names.
pub(super) fn parts(key: &str) -> Option<(&str, &'static str)> {
    PARTS.into_iter().find_map(|part| Some((key.strip_prefix(PREFIX)?.strip_suffix(part)?, part)))
}

/// The module whose bias a key names. PEFT has it in the layer within (`base_layer`) where a pair
/// is `beside`, and nowhere else.
pub(super) fn bias(key: &str, beside: impl Fn(&str) -> bool) -> Option<&str> {
    let name = key.strip_prefix(PREFIX)?.strip_suffix(".bias")?;
    let module = name.strip_suffix(".base_layer").unwrap_or(name);
    let of_block = module.starts_with("model.layers.") && !is_of(key, "lora_B");
    (of_block && beside(module) == (module != name)).then_some(module)
}

/// The name of the last module in a key: `lm_head`.
fn is_of(key: &str, module: &str) -> bool {
    key.split('.').any(|part| part == module)
}

/// An error that names the tensors which belong to no pair of a linear layer of a block, if there
/// are some.
pub(super) fn not_taken<'a>(
    keys: impl Iterator<Item = &'a String>,
    beside: impl Fn(&str) -> bool,
    label: &str,
) -> Option<Error> {
    let strange = |key: &&String| {
        parts(key).is_none() && bias(key, &beside).is_none()
            || is_of(key, "lm_head")
            || is_of(key, "embed_tokens")
    };
    let strange: Vec<&String> = keys.filter(strange).collect();
    let first = *strange.first()?;
    let what = match strange.len() {
        1 => format!("{label}: tensor `{first}`"),
        n => format!("{label}: tensor `{first}` and {} others", n - 1),
    };
    let hint = if first.contains(".lora_")
        && (is_of(first, "lm_head") || is_of(first, "embed_tokens"))
    {
        format!(
            "LoRA of the head or the embedding; {MERGE}, or train without lm_head and embed_tokens"
        )
    } else if first.ends_with(".lora_B.bias") || first.ends_with(".lora_B.default.bias") {
        "lora_bias is not done here; train the adapter without it".into()
    } else if first.contains(".lora_") && first.starts_with(PREFIX) {
        "lora_A, lora_B and lora_magnitude_vector of linear layers are read, of an adapter called `default`; PEFT \
         leaves this tensor out"
            .into()
    } else if first.contains(".lora_") {
        format!("PEFT's names begin with {PREFIX}; it leaves this tensor out, so rename it")
    } else {
        format!("a whole weight of the model beside the adapter; {MERGE}")
    };
    Some(Error::Unsupported { what, hint })
}
