//! One file or folder per family of operations: bindings, `Params`, shape checks, dispatch, twin
//! call. [`ALL`] is the table that tests, benches and the shader dump walk.

#[macro_use]
mod kernel;

mod add_bias;
mod attention;
pub mod cases;
mod ceiling;
mod copy_rows;
mod cross_entropy;
mod dora;
mod dora_norm;
mod elementwise;
mod embed;
mod inputs;
mod linear;
mod lora;
mod optimizer;
mod pack;
mod rms_norm;
mod rope;
mod swiglu;
#[cfg(not(target_arch = "wasm32"))]
mod tune;
mod weight;

pub use add_bias::AddBias;
pub use attention::{
    AttentionBwdDkv, AttentionBwdDq, AttentionDecode, AttentionDelta, AttentionFwd,
    AttentionGather, AttentionShape, GatherShape,
};
pub use ceiling::{CeilingCopy, CeilingFma};
pub use copy_rows::CopyRows;
pub use cross_entropy::{CrossEntropyFused, ReduceSum};
pub use dora::{DoraBwd, DoraScale};
pub use dora_norm::DoraNorm;
pub use elementwise::{Add, GatherRows};
pub use embed::EmbedFwd;
pub use linear::{Branch, Input, LinearBwd, LinearFwd, LinearGrad};
pub use lora::{Dropout, LoraDown, LoraDownBwd, LoraUpBwd, Mask, Share};
pub use optimizer::{AdamW, AdamW8bit, AdamWStep, ClipCoefficient, SumSquares};
pub use pack::{PackF16, UnpackF16};
pub use rms_norm::{RmsNormBwd, RmsNormFwd};
pub use rope::{Rope, RopeAppend};
pub use swiglu::{SwigluBwd, SwigluFwd};
#[cfg(not(target_arch = "wasm32"))]
pub use tune::{Contest, Tuned, tune};
pub use weight::{Dense, Kept, Matrix, Nf4Words, Storage, words_of};

use crate::gpu::Kernel;
use kernel::{Length, elements, fours, params};

/// Every kernel.
pub static ALL: &[&Kernel] = &[
    &attention::FWD,
    &attention::DELTA,
    &attention::BWD_DQ,
    &attention::BWD_DKV,
    &attention::DECODE,
    &attention::GATHER,
    &ceiling::COPY,
    &ceiling::FMA,
    &copy_rows::COPY_ROWS,
    &dora_norm::DORA_NORM,
    &embed::FWD,
    &linear::FWD,
    &linear::FEW_ROWS,
    &linear::BWD,
    &linear::GRAD,
    &lora::DOWN,
    &lora::DOWN_BWD,
    &lora::DROPOUT,
    &lora::UP_BWD,
    &rms_norm::FWD,
    &rms_norm::BWD,
    &rope::ROPE,
    &rope::ROPE_APPEND,
    &swiglu::FWD,
    &swiglu::BWD,
    &cross_entropy::FUSED,
    &cross_entropy::REDUCE_SUM,
    &optimizer::SUM_SQUARES,
    &optimizer::CLIP_COEFFICIENT,
    &optimizer::ADAMW,
    &optimizer::ADAMW8BIT,
    &dora::SCALE,
    &dora::BWD,
    &elementwise::ADD,
    &add_bias::ADD_BIAS,
    &elementwise::GATHER_ROWS,
    &pack::PACK,
    &pack::UNPACK,
];
