//! Rotary position frequencies and tables, made on the host in `f64`: WGSL promises only 11 bits of sine and cosine.

use super::json::Object;
use crate::error::{Error, Result};

/// The base and scaling of the rotary embedding. All kinds here have an attention scaling of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// `rope_theta`: frequencies are `theta^(−2i/E)`.
    pub theta: f64,
    /// What is done to the frequencies.
    pub scaling: RopeScaling,
}

/// How frequencies are stretched for contexts longer than the original training's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all (`default`).
    None,
    /// Llama 3: long waves are slowed by `factor`, short ones kept, those between blended.
    Llama3 {
        /// Division of the long waves' frequency.
        factor: f64,
        /// Waves longer than `original / low_freq_factor` tokens are long.
        low_freq_factor: f64,
        /// Waves shorter than `original / high_freq_factor` tokens are short.
        high_freq_factor: f64,
        /// Context length of the original training, in tokens.
        original_max_position_embeddings: usize,
    },
    /// All frequencies divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
}

impl Rope {
    /// From a config: `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling` (transformers 4).
    pub(crate) fn from_config(config: &Object<'_>) -> Result<Self> {
        let parameters = config.object("rope_parameters")?;
        let scaling = match &parameters {
            Some(_) => None,
            None => config.object("rope_scaling")?,
        };
        let nested = parameters.as_ref().and_then(|p| p.number("rope_theta").transpose());
        let (key, theta) = match nested {
            Some(theta) => ("rope_parameters.rope_theta", Some(theta?)),
            None => ("rope_theta", config.number("rope_theta")?),
        };
        let theta = theta.unwrap_or(10_000.0);
        if theta <= 0.0 {
            return Err(config.error(key, format!("should be positive, is {theta}")));
        }
        let scaling = match parameters.or(scaling) {
            Some(object) => RopeScaling::from_object(&object)?,
            None => RopeScaling::None,
        };
        Ok(Self { theta, scaling })
    }

    /// `theta^(−2i/E)` after scaling, for `i = 0..E/2`, in `f64`.
    ///
    /// Llama 3, with `wave = 2π/f`: `f/factor` if `wave > original/low`; `f` if `wave < original/high`; else
    /// `(1−s)·f/factor + s·f` with `s = (original/wave − low)/(high − low)`.
    ///
    /// **Source** `modeling_rope_utils.py` of transformers.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let frequency = |i: usize| {
            let f = self.theta.powf(-((2 * i) as f64) / head_dim as f64);
            match self.scaling {
                RopeScaling::None => f,
                RopeScaling::Linear { factor } => f / factor,
                RopeScaling::Llama3 {
                    factor,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_max_position_embeddings: original,
                } => {
                    let original = original as f64;
                    let wave = 2.0 * std::f64::consts::PI / f;
                    if wave > original / low {
                        f / factor
                    } else if wave < original / high {
                        f
                    } else {
                        let s = (original / wave - low) / (high - low);
                        (1.0 - s) * f / factor + s * f
                    }
                }
            }
        };
        (0..head_dim / 2).map(frequency).collect()
    }

    /// [`Rope::frequencies`] rounded to `f32`, as transformers keeps them: `(E/2)`.
    pub fn inv_freq(&self, head_dim: usize) -> Vec<f32> {
        self.frequencies(head_dim).into_iter().map(|f| f as f32).collect()
    }

    /// Cosine and sine of `position · frequency`, each `(positions, E/2)`, computed in `f64` and rounded once.
    ///
    /// Half-split layout: pair `i` of a head is the elements `i` and `i + E/2`.
    pub fn tables(&self, head_dim: usize, positions: &[u32]) -> (Vec<f32>, Vec<f32>) {
        let frequencies = self.frequencies(head_dim);
        let angles =
            positions.iter().flat_map(|&p| frequencies.iter().map(move |f| f64::from(p) * f));
        angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip()
    }
}

impl RopeScaling {
    fn from_object(o: &Object<'_>) -> Result<Self> {
        let key = if o.get("rope_type").is_some() { "rope_type" } else { "type" };
        let kind = o.string(key)?.unwrap_or("default");
        if let Some(part) = o.number("partial_rotary_factor")?.filter(|p| *p != 1.0) {
            return Err(o.unsupported(
                "partial_rotary_factor",
                part,
                "1 works (heads are rotated whole)",
            ));
        }
        let positive = |key: &str| -> Result<f64> {
            let value = o.number(key)?;
            let value =
                value.ok_or_else(|| o.error(key, format!("is needed by rope type `{kind}`")))?;
            if value <= 0.0 {
                return Err(o.error(key, format!("should be positive, is {value}")));
            }
            Ok(value)
        };
        match kind {
            "default" => Ok(Self::None),
            "linear" => Ok(Self::Linear { factor: positive("factor")? }),
            "llama3" => {
                let (low, high) = (positive("low_freq_factor")?, positive("high_freq_factor")?);
                if high <= low {
                    let why = format!("should be above low_freq_factor {low}, is {high}");
                    return Err(o.error("high_freq_factor", why));
                }
                let key = "original_max_position_embeddings";
                Ok(Self::Llama3 {
                    factor: positive("factor")?,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_max_position_embeddings: o
                        .size(key)?
                        .ok_or_else(|| o.error(key, "is needed by rope type `llama3`"))?,
                })
            }
            other => Err(o.unsupported(key, other, "default, linear and llama3 work")),
        }
    }

    /// The extra checks that need no file: for configurations made in code.
    pub(crate) fn validate(&self) -> Result<()> {
        let fine = match *self {
            Self::None => true,
            Self::Linear { factor } => factor > 0.0,
            Self::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, .. } => {
                factor > 0.0 && low > 0.0 && high > low
            }
        };
        if fine {
            Ok(())
        } else {
            Err(Error::invalid("rope scaling", format!("{self:?} makes no sense")))
        }
    }
}
