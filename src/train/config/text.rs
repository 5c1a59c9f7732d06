//! Settings as TOML: reading, laying one file over another, and saying how two runs differ.

use super::TrainConfig;
use super::names::{self, Meaning};
use crate::{Error, Result};
use serde::de::{Deserialize, Deserializer, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// A setting that two runs do not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name in `run.toml`.
    pub name: String,
    /// Its value in the first, as TOML, or `unset`.
    pub first: String,
    /// Its value in the second.
    pub second: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} → {}", self.name, self.first, self.second)
    }
}

impl TrainConfig {
    /// The settings as TOML, one line each.
    ///
    /// **Errors** [`Error::Invalid`] for a seed that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::invalid("settings", e))
    }

    /// Settings from TOML; what it leaves out has its default. `path` is for messages.
    ///
    /// **Errors** as [`TrainConfig::overlay`].
    pub fn from_toml(text: &str, path: &str) -> Result<TrainConfig> {
        TrainConfig::default().overlay(text, path)
    }

    /// These settings with those that `text` gives put over them: a preset, then `run.toml`, then
    /// what was typed. Names may have dashes, and may be those of PEFT, TRL and mlx-lm
    /// ([`super::names`]).
    ///
    /// **Errors** [`Error::Format`] for text that is no TOML, an unknown name (with the nearest
    /// known one), one that is refused, a setting given under two names, or a value of the wrong
    /// kind.
    pub fn overlay(&self, text: &str, path: &str) -> Result<TrainConfig> {
        let mut given: Table = text.parse().map_err(|e: toml::de::Error| {
            let line =
                e.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
            Error::format(path, format!("line {line}"), e.message())
        })?;
        keep_order(text, &mut given);
        self.overlay_table(given, path)
    }

    /// The same from a table, such as one made from command-line flags.
    pub fn overlay_table(&self, given: Table, path: &str) -> Result<TrainConfig> {
        let mut all = table(self)?;
        let mut set: BTreeMap<String, String> = BTreeMap::new();
        let mut micro: Vec<(String, &'static str, Value)> = Vec::new();
        for (key, value) in given {
            let at = |why: String| Error::format(path, format!("`{key}`"), why);
            let settings = match names::meaning(&key, value).map_err(at)? {
                Meaning::Settings(settings) => settings,
                Meaning::PerStep(name, count) => {
                    micro.push((key, name, count));
                    continue;
                }
            };
            for (name, value) in settings {
                put(&mut all, &mut set, (key.as_str(), name, value), path)?;
            }
        }
        for (key, name, count) in micro {
            let at = |why: String| Error::format(path, format!("`{key}`"), why);
            let value = names::per_step(&count, &all).map_err(at)?;
            put(&mut all, &mut set, (key.as_str(), name.to_owned(), value), path)?;
        }
        all.try_into().map_err(|e: toml::de::Error| Error::format(path, "settings", e.message()))
    }

    /// The settings that differ, by name; empty if the runs would be the same. `save_steps`,
    /// `save_total_limit` and `sample_prompts` are left out: they change what is kept, not what is
    /// computed.
    pub fn differences(&self, other: &TrainConfig) -> Result<Vec<Difference>> {
        let (first, second) = (table(self)?, table(other)?);
        let show = |value: Option<&Value>| value.map_or("unset".into(), Value::to_string);
        let names = known_names().into_iter().filter(|name| {
            first.get(name) != second.get(name)
                && !["save_steps", "save_total_limit", "sample_prompts"].contains(&name.as_str())
        });
        let difference = |name: String| {
            let (first, second) = (show(first.get(&name)), show(second.get(&name)));
            Difference { name, first, second }
        };
        Ok(names.map(difference).collect())
    }
}

/// Puts a setting, which was given as `key`, over those that stand.
fn put(
    all: &mut Table,
    set: &mut BTreeMap<String, String>,
    (key, name, value): (&str, String, Value),
    path: &str,
) -> Result<()> {
    let at = |why: String| Error::format(path, format!("`{key}`"), why);
    let known = known_names();
    if !known.contains(&name) {
        let near = known.iter().min_by_key(|known| distance(known, &name));
        return Err(at(match near.filter(|near| distance(near, &name) <= 1 + name.len() / 4) {
            Some(near) => format!("no such setting; did you mean `{near}`?"),
            None => format!("no such setting; known are {}", Vec::from_iter(known).join(", ")),
        }));
    }
    if let Some(before) = set.insert(name.clone(), key.to_owned())
        && before != key
    {
        return Err(at(format!("`{before}` sets ‹{name}›, too; give one of them")));
    }
    // One at a time, so that the message names the setting.
    let one = Table::from_iter([(name.clone(), value.clone())]);
    if let Err(e) = one.try_into::<TrainConfig>() {
        return Err(at(e.message().to_owned()));
    }
    all.insert(name, value);
    Ok(())
}

/// Tables of patterns as lists of pairs in the order of the text: of patterns the first that
/// matches counts, and a [`Table`] sorts its keys.
fn keep_order(text: &str, given: &mut Table) {
    let Ok(parsed) = DeTable::parse(text) else { return };
    for (key, value) in parsed.get_ref() {
        let (DeValue::Table(entries), Some(Value::Table(table))) =
            (value.get_ref(), given.get(&**key.get_ref()))
        else {
            continue;
        };
        let mut keys: Vec<_> = entries.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        let pair = |name: &str| Some(Value::Array(vec![name.into(), table.get(name)?.clone()]));
        let pairs = keys.into_iter().filter_map(|key| pair(key.get_ref()));
        let pairs = Value::Array(pairs.collect());
        given.insert(key.get_ref().to_string(), pairs);
    }
}

fn table(config: &TrainConfig) -> Result<Table> {
    Table::try_from(config).map_err(|e| Error::invalid("settings", e))
}

/// All names: the fields that serde asks for.
fn known_names() -> BTreeSet<String> {
    let mut fields = Fields(&[]);
    // There are no values, so an error is all that comes of it.
    let _ = TrainConfig::deserialize(&mut fields);
    fields.0.iter().map(|name| (*name).to_owned()).collect()
}

/// Takes down the names of a struct's fields.
struct Fields(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Fields {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("names without values"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Self::Error> {
        self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Levenshtein's edit distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
