//! What settings are called elsewhere, and what they are here: every field of PEFT's `LoraConfig`,
//! TRL's `SFTConfig` (with the Trainer's) and `ModelConfig`, and every flag of `mlx_lm.lora`.
//!
//! An alias never means another thing than where it comes from. What cannot be said here is refused
//! by name, with what to do instead. docs/names.md shows the table.

mod field;
mod table;

use toml::{Table, Value};

pub use field::{Field, Here, Origin, Translation};
pub use table::FIELDS;

/// The name, with dashes or underscores.
pub fn find(name: &str) -> Option<&'static Field> {
    let name = name.replace('-', "_");
    FIELDS.iter().find(|field| field.name == name)
}

/// What a name and its value set here.
#[derive(Debug)]
pub(super) enum Meaning {
    /// These settings.
    Settings(Vec<(String, Value)>),
    /// This one, as soon as `gradient_accumulation_steps` is known.
    PerStep(&'static str, Value),
}

/// What `name = value` means here, or why it is refused.
pub(super) fn meaning(name: &str, value: Value) -> Result<Meaning, String> {
    let one = |name: &str| Ok(Meaning::Settings(vec![(name.to_owned(), value.clone())]));
    let Some(field) = find(name) else { return one(&name.replace('-', "_")) };
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(settings) = field.translated(&text) {
        let typed = |text: &str| text.parse().unwrap_or_else(|_| Value::String(text.to_owned()));
        let settings = settings.iter().map(|(name, text)| ((*name).to_owned(), typed(text)));
        return Ok(Meaning::Settings(settings.collect()));
    }
    match field.here {
        Here::Taken => one(field.name),
        Here::As(ours) => one(ours),
        Here::Flag(flag) => Err(format!("is no setting of a file; give ‹{flag}›")),
        Here::PerStep(ours) => Ok(Meaning::PerStep(ours, value)),
        Here::Refused(_) if says_nothing(&value) => Ok(Meaning::Settings(Vec::new())),
        Here::Refused(why) => {
            let of = Vec::from_iter(field.of.iter().map(ToString::to_string)).join(", ");
            Err(format!("of {of}, with the value {text}, is not taken: {why}"))
        }
    }
}

/// An empty text, list or table.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Table(table) => table.is_empty(),
        _ => false,
    }
}

/// A count of micro-batches as one of optimizer steps.
pub(super) fn per_step(count: &Value, settings: &Table) -> Result<Value, String> {
    let number = |value: Option<&Value>| value.and_then(Value::as_integer);
    let micro = number(settings.get("gradient_accumulation_steps")).unwrap_or(1).max(1);
    let Some(count) = number(Some(count)) else {
        return Err(format!("{count} is no whole number"));
    };
    match count % micro {
        0 => Ok((count / micro).into()),
        _ => Err(format!(
            "{count} micro-batches are no whole number of optimizer steps of {micro} (‹gradient_accumulation_steps›)"
        )),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
