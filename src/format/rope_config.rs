//! The rotary embedding's parameters in a `config.json`, wherever it has them.
//!
//! **Source** `RotaryEmbeddingConfigMixin` and the functions that it leads to, of transformers
//! 5.24.

use serde_json::Value;

use super::json::Object;
use super::rope::{Rope, RopeScaling};
use crate::error::Result;

const THETA: &str = "rope_theta";
const ORIGINAL: &str = "original_max_position_embeddings";
const PART: &str = "partial_rotary_factor";

impl Rope {
    /// From `rope_scaling`, or else `rope_parameters`, either with `rope_theta` or without; what
    /// they lack stands beside them. Keys that nobody reads are added to `unread`.
    pub(super) fn from_config(
        config: &Object<'_>,
        max_positions: usize,
        unread: &mut Vec<String>,
    ) -> Result<Self> {
        let filled = |key: &'static str| {
            let object = config.object(key)?.filter(|o| o.keys().next().is_some());
            Ok(object.map(|object| (key, object)))
        };
        let found = match filled("rope_scaling")? {
            Some(found) => Some(found),
            None => filled("rope_parameters")?,
        };
        let both = ["rope_scaling", "rope_parameters"].map(|key| config.get(key));
        if let [Some(one), Some(other)] = both
            && one != other
            && let Some((key, _)) = &found
        {
            unread.push(match *key {
                "rope_scaling" => "rope_parameters (beside rope_scaling)".into(),
                _ => "rope_scaling".into(),
            });
        }
        let inner = found.as_ref().map(|(_, object)| object);
        let mut theta = (config, config.number(THETA)?);
        if let Some(o) = inner.filter(|o| o.get(THETA).is_some()) {
            theta = (o, o.number(THETA)?);
        }
        let (place, theta) = (theta.0, theta.1.unwrap_or(10_000.0));
        if theta <= 0.0 {
            return Err(place.error(THETA, format!("should be positive, is {theta}")));
        }
        let scaling = match &found {
            Some((key, o)) => {
                let place = Place { config, key, o, max_positions };
                place.scaling(unread)?
            }
            None => RopeScaling::None,
        };
        Ok(Self { theta, scaling })
    }
}

/// An object with RoPE's parameters.
struct Place<'a, 'b> {
    config: &'a Object<'b>,
    key: &'a str,
    o: &'a Object<'b>,
    max_positions: usize,
}

impl Place<'_, '_> {
    fn scaling(&self, unread: &mut Vec<String>) -> Result<RopeScaling> {
        let o = self.o;
        let key = if o.has("rope_type") { "rope_type" } else { "type" };
        let kind = o.string(key)?.unwrap_or("default");
        if let Some(layers) = o.keys().find(|key| o.get(key).is_some_and(Value::is_object)) {
            let hint = "one rotary embedding for all layers works";
            return Err(o.unsupported(layers, "parameters of some layers", hint));
        }
        let (scaling, read): (RopeScaling, &[&str]) = match kind {
            "default" => (RopeScaling::None, &[]),
            "linear" => {
                (RopeScaling::Linear { factor: self.positive(kind, "factor")? }, &["factor"])
            }
            "dynamic" => {
                let factor = self.positive(kind, "factor")?;
                let max_position_embeddings = self.max_positions;
                (RopeScaling::Dynamic { factor, max_position_embeddings }, &["factor"])
            }
            "llama3" => {
                let low = self.positive(kind, "low_freq_factor")?;
                let high = self.positive(kind, "high_freq_factor")?;
                if high <= low {
                    let why = format!("should be above low_freq_factor {low}, is {high}");
                    return Err(o.error("high_freq_factor", why));
                }
                let scaling = RopeScaling::Llama3 {
                    factor: self.positive(kind, "factor")?,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_max_position_embeddings: self.original()?,
                };
                (scaling, &["factor", "low_freq_factor", "high_freq_factor", ORIGINAL])
            }
            "yarn" => (
                self.yarn()?,
                &[
                    "factor",
                    "attention_factor",
                    "mscale",
                    "mscale_all_dim",
                    "beta_fast",
                    "beta_slow",
                    "truncate",
                    ORIGINAL,
                ],
            ),
            "longrope" => (
                self.longrope()?,
                &["factor", "attention_factor", "short_factor", "long_factor", ORIGINAL],
            ),
            "proportional" => {
                let factor = match o.get("factor") {
                    Some(_) => self.positive(kind, "factor")?,
                    None => 1.0,
                };
                let part = self.part()?.unwrap_or(1.0);
                if !(0.0..=1.0).contains(&part) {
                    return Err(o.error(PART, format!("should be in 0..=1, is {part}")));
                }
                (RopeScaling::Proportional { factor, part }, &["factor", PART])
            }
            other => {
                let hint = "default, linear, dynamic, yarn, longrope, llama3 and proportional work";
                return Err(o.unsupported(key, other, hint));
            }
        };
        // `default` turns heads whole whatever this says, and `proportional` means something of its
        // own.
        let partial = self.part()?.filter(|part| *part != 1.0);
        if let Some(part) = partial.filter(|_| !["default", "proportional"].contains(&kind)) {
            return Err(o.unsupported(PART, part, "1 works (heads are rotated whole)"));
        }
        let known = |key: &str| {
            ["rope_type", "type", THETA].contains(&key)
                || read.contains(&key)
                || key == PART && partial.is_none()
        };
        let others = o.keys().filter(|key| !known(key) && o.get(key).is_some());
        unread.extend(others.map(|key| format!("{}.{key}", self.key)));
        Ok(scaling)
    }

    fn positive(&self, kind: &str, key: &str) -> Result<f64> {
        let value = self
            .o
            .number(key)?
            .ok_or_else(|| self.o.error(key, format!("is needed by rope type `{kind}`")))?;
        if value <= 0.0 {
            return Err(self.o.error(key, format!("should be positive, is {value}")));
        }
        Ok(value)
    }

    fn part(&self) -> Result<Option<f64>> {
        match self.o.number(PART)? {
            Some(part) => Ok(Some(part)),
            None => self.config.number(PART),
        }
    }

    /// The original context: that beside the object counts, then that in it.
    fn original(&self) -> Result<usize> {
        let beside = self.config.size(ORIGINAL)?;
        Ok(beside.or(self.o.size(ORIGINAL)?).unwrap_or(self.max_positions))
    }

    /// `factor`, or by how much the context grew.
    fn factor(&self, original: usize) -> Result<f64> {
        let given = self.o.number("factor")?;
        let factor = given.unwrap_or(self.max_positions as f64 / original as f64);
        if factor <= 0.0 {
            return Err(self.o.error("factor", format!("should be positive, is {factor}")));
        }
        Ok(factor)
    }

    fn yarn(&self) -> Result<RopeScaling> {
        let o = self.o;
        let original = self.original()?;
        let factor = self.factor(original)?;
        let scale =
            |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
        let filled = |key: &str| Ok(o.number(key)?.filter(|value| *value != 0.0));
        let attention_factor =
            match (o.number("attention_factor")?, filled("mscale")?, filled("mscale_all_dim")?) {
                (Some(given), ..) => given,
                (None, Some(one), Some(all)) => scale(one) / scale(all),
                _ => scale(1.0),
            };
        Ok(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings: original,
            beta_fast: filled("beta_fast")?.unwrap_or(32.0),
            beta_slow: filled("beta_slow")?.unwrap_or(1.0),
            truncate: o.bool("truncate")?.unwrap_or(true),
            attention_factor,
        })
    }

    fn longrope(&self) -> Result<RopeScaling> {
        let o = self.o;
        let list = |key: &str| -> Result<Vec<f64>> {
            let list = o.get(key).and_then(Value::as_array);
            let list = list.and_then(|list| list.iter().map(Value::as_f64).collect());
            list.ok_or_else(|| o.error(key, "should be a list of numbers (rope type `longrope`)"))
        };
        let original = self.original()?;
        let factor = self.factor(original)?;
        let attention_factor = match o.number("attention_factor")? {
            Some(given) => given,
            None if factor <= 1.0 => 1.0,
            None => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
        };
        Ok(RopeScaling::LongRope {
            short_factor: list("short_factor")?,
            long_factor: list("long_factor")?,
            original_max_position_embeddings: original,
            attention_factor,
        })
    }
}
