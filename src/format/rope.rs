//! Rotary position frequencies and tables, made on the host in `f64`: WGSL promises only 11 bits of
//! sine and cosine.

use crate::error::{Error, Result};

/// The base and scaling of the rotary embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// `rope_theta`: frequencies are `theta^(−2i/E)`.
    pub theta: f64,
    /// What is done to the frequencies.
    pub scaling: RopeScaling,
}

/// How frequencies are stretched for contexts longer than the original training's.
#[derive(Clone, Debug, PartialEq)]
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
    /// Not at all up to a length, and beyond it by the length of each sequence, which is refused
    /// here.
    Dynamic {
        /// What the base would grow by.
        factor: f64,
        /// The length.
        max_position_embeddings: usize,
    },
    /// YaRN: frequencies divided by `factor` where few turns fit in the original context, kept
    /// where many do.
    Yarn {
        /// The divisor.
        factor: f64,
        /// Context length of the original training, in tokens.
        original_max_position_embeddings: usize,
        /// Turns in the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns below which it is divided.
        beta_slow: f64,
        /// Whether the range between is rounded to whole pairs.
        truncate: bool,
        /// Factor of cosine and sine.
        attention_factor: f64,
    },
    /// LongRoPE: each frequency has its divisor. Sequences beyond `original`, where it has another
    /// one, are refused here.
    LongRope {
        /// Divisors up to `original`, `(E/2)`.
        short_factor: Vec<f64>,
        /// Divisors beyond it, `(E/2)`.
        long_factor: Vec<f64>,
        /// Context length of the original training, in tokens.
        original_max_position_embeddings: usize,
        /// Factor of cosine and sine.
        attention_factor: f64,
    },
    /// The first `part` of the pairs turns, all by `theta^(−2i/E)/factor`, the others do not.
    Proportional {
        /// The divisor.
        factor: f64,
        /// Share of a head that turns, in 0..=1.
        part: f64,
    },
}

impl Rope {
    /// `theta^(−2i/E)` after scaling, for `i = 0..E/2`, in `f64`.
    ///
    /// Llama 3, with `wave = 2π/f`: `f/factor` if `wave > original/low`; `f` if
    /// `wave < original/high`; else `(1−s)·f/factor + s·f` with
    /// `s = (original/wave − low)/(high − low)`.
    ///
    /// YaRN: `r·f/factor + (1−r)·f`, where `r` rises from 0 to 1 between the pairs that turn
    /// `beta_fast` and `beta_slow` times in the original context.
    ///
    /// **Source** `modeling_rope_utils.py` of transformers.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let plain = |i: usize| self.theta.powf(-((2 * i) as f64) / head_dim as f64);
        let frequency = |i: usize| {
            let f = plain(i);
            match &self.scaling {
                RopeScaling::None | RopeScaling::Dynamic { .. } => f,
                RopeScaling::Linear { factor } => f / factor,
                RopeScaling::Llama3 {
                    factor,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_max_position_embeddings: original,
                } => {
                    let original = *original as f64;
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
                RopeScaling::Yarn { factor, .. } => {
                    let [low, high] = self.yarn_range(head_dim);
                    let r = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    r * f / factor + (1.0 - r) * f
                }
                RopeScaling::LongRope { short_factor, .. } => {
                    f / short_factor.get(i).copied().unwrap_or(1.0)
                }
                RopeScaling::Proportional { factor, part } => {
                    let turn = (part * head_dim as f64 / 2.0).floor();
                    if (i as f64) < turn { f / factor } else { 0.0 }
                }
            }
        };
        (0..head_dim / 2).map(frequency).collect()
    }

    /// The pairs between which YaRN blends.
    fn yarn_range(&self, head_dim: usize) -> [f64; 2] {
        let RopeScaling::Yarn {
            original_max_position_embeddings: original,
            beta_fast,
            beta_slow,
            truncate,
            ..
        } = self.scaling
        else {
            return [0.0, 1.0];
        };
        let dim = head_dim as f64;
        let pair = |turns: f64| {
            let waves = original as f64 / (turns * 2.0 * std::f64::consts::PI);
            dim * waves.ln() / (2.0 * self.theta.ln())
        };
        let (mut low, mut high) = (pair(beta_fast), pair(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, high) = (low.max(0.0), high.min(dim - 1.0));
        [low, if low == high { high + 0.001 } else { high }]
    }

    /// What cosine and sine are multiplied by.
    pub fn attention_factor(&self) -> f64 {
        match &self.scaling {
            RopeScaling::Yarn { attention_factor, .. }
            | RopeScaling::LongRope { attention_factor, .. } => *attention_factor,
            _ => 1.0,
        }
    }

    /// Refuses sequences whose length would change the frequencies.
    pub(crate) fn check_length(&self, tokens: usize) -> Result<()> {
        let (kind, most) = match &self.scaling {
            RopeScaling::Dynamic { max_position_embeddings, .. } => {
                ("dynamic", *max_position_embeddings)
            }
            RopeScaling::LongRope {
                short_factor,
                long_factor,
                original_max_position_embeddings,
                ..
            } if short_factor != long_factor => ("longrope", *original_max_position_embeddings),
            _ => return Ok(()),
        };
        if tokens <= most {
            return Ok(());
        }
        Err(Error::Unsupported {
            what: format!(
                "a sequence of {tokens} tokens with rope type `{kind}`, whose frequencies change behind {most}"
            ),
            hint: format!("sequences of up to {most} tokens work"),
        })
    }

    /// [`Rope::frequencies`] rounded to `f32`, as transformers keeps them: `(E/2)`.
    pub fn inv_freq(&self, head_dim: usize) -> Vec<f32> {
        self.frequencies(head_dim).into_iter().map(|f| f as f32).collect()
    }

    /// Cosine and sine of `position · frequency`, each `(positions, E/2)`, times
    /// [`Rope::attention_factor`], computed in `f64` and rounded once.
    ///
    /// Half-split layout: pair `i` of a head is the elements `i` and `i + E/2`.
    pub fn tables(&self, head_dim: usize, positions: &[u32]) -> (Vec<f32>, Vec<f32>) {
        let frequencies = self.frequencies(head_dim);
        let angles =
            positions.iter().flat_map(|&p| frequencies.iter().map(move |f| f64::from(p) * f));
        let factor = self.attention_factor();
        angles.map(|a| ((a.cos() * factor) as f32, (a.sin() * factor) as f32)).unzip()
    }
}

impl RopeScaling {
    /// The extra checks that need no file: for configurations made in code.
    pub(crate) fn validate(&self, head_dim: usize) -> Result<()> {
        let fine = match self {
            Self::None => true,
            Self::Linear { factor } | Self::Dynamic { factor, .. } => *factor > 0.0,
            Self::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, .. } => {
                *factor > 0.0 && *low > 0.0 && high > low
            }
            Self::Yarn { factor, beta_fast, beta_slow, attention_factor, .. } => {
                *factor > 0.0
                    && *beta_fast > 0.0
                    && *beta_slow > 0.0
                    && attention_factor.is_finite()
            }
            Self::LongRope { short_factor, long_factor, attention_factor, .. } => {
                let whole =
                    |list: &[f64]| list.len() == head_dim / 2 && list.iter().all(|f| *f > 0.0);
                whole(short_factor) && whole(long_factor) && attention_factor.is_finite()
            }
            Self::Proportional { factor, part } => *factor > 0.0 && (0.0..=1.0).contains(part),
        };
        if fine {
            Ok(())
        } else {
            Err(Error::invalid("rope scaling", format!("{self:?} makes no sense")))
        }
    }
}
