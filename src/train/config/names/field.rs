//! A name from elsewhere, and what becomes of it here.

use std::fmt;

/// Where a name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// PEFT's `LoraConfig`.
    LoraConfig,
    /// TRL's `SFTConfig`, which extends transformers' `TrainingArguments`.
    SftConfig,
    /// TRL's `ModelConfig`.
    ModelConfig,
    /// Flags and configuration keys of `mlx_lm.lora`.
    MlxLm,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::LoraConfig => "LoraConfig",
            Origin::SftConfig => "SFTConfig",
            Origin::ModelConfig => "ModelConfig",
            Origin::MlxLm => "mlx_lm.lora",
        })
    }
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// A setting of this name, with the same meaning.
    Taken,
    /// The same setting under another name.
    As(&'static str),
    /// A flag of `train` that is no setting of `run.toml`.
    Flag(&'static str),
    /// A setting that counts optimizer steps, where the name counts micro-batches: divided by
    /// `gradient_accumulation_steps`.
    PerStep(&'static str),
    /// Nothing that could be said here; what to do instead.
    Refused(&'static str),
}

/// A value and what it sets here; nothing where this program does so anyway.
pub type Translation = (&'static str, &'static [(&'static str, &'static str)]);

/// A name.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name, with underscores.
    pub name: &'static str,
    /// Where it comes from.
    pub of: &'static [Origin],
    /// What becomes of it.
    pub here: Here,
    /// Values that are translated one by one, before [`Field::here`] is asked.
    pub values: &'static [Translation],
}

impl Field {
    /// What a value sets, if it is one of those that are translated.
    pub fn translated(&self, value: &str) -> Option<&'static [(&'static str, &'static str)]> {
        let found = self.values.iter().find(|(from, _)| from.eq_ignore_ascii_case(value));
        found.map(|(_, to)| *to)
    }
}

impl fmt::Display for Field {
    /// What becomes of it, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        for (from, to) in self.values {
            let to = Vec::from_iter(to.iter().map(|(name, value)| format!("{name} = {value}")));
            parts.push(match to.is_empty() {
                true => format!("`{from}`: as here"),
                false => format!("`{from}`: `{}`", to.join("`, `")),
            });
        }
        parts.push(match self.here {
            Here::Taken => "taken".into(),
            Here::As(ours) => format!("`{ours}`"),
            Here::Flag(flag) => format!("the flag `--{flag}`"),
            Here::PerStep(ours) => format!("`{ours}` × `gradient_accumulation_steps`"),
            Here::Refused(why) => {
                let why = why.replace(['\u{2039}', '\u{203a}'], "`");
                let else_ = if self.values.is_empty() { "refused" } else { "otherwise refused" };
                format!("{else_}: {why}")
            }
        });
        f.write_str(&parts.join("; "))
    }
}
