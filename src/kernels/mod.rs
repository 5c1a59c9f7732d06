//! One file per family of operations: bindings, `Params`, shape checks, dispatch, twin call.
//! [`ALL`] is the table that tests, benches and the shader dump walk.

/// Names a kernel, the room of its shaders, its bindings and its bodies; the sources are
/// `shaders/<room>/<name>.wgsl` for the baseline and `shaders/<room>/<name>_<body>.wgsl` for the
/// others. With `joins` in front, several of its operations may be one dispatch.
///
/// Where there is more than the baseline, each body is a row, in this order:
/// `"tile": on Software where is_old, needs F16, takes ALIGNED, tile Group([32, 64]), tuned true;`.
/// `on` and `tile` must be said. Without `where` nothing narrows `on`, without `needs` WebGPU's
/// defaults suffice, without `takes` it takes any data, without `tuned` no measurement chooses it.
macro_rules! kernel {
    (joins $($kernel:tt)*) => {
        $crate::gpu::Kernel { joins: true, ..kernel!($($kernel)*) }
    };
    (@text $room:ident, $($part:literal),*) => {
        include_str!(concat!("../../shaders/", stringify!($room), "/", $($part,)* ".wgsl"))
    };
    (@or $default:expr) => { $default };
    (@or $default:expr, $given:expr) => { $given };
    ($room:ident, $name:literal, [$($binding:ident: $access:ident),* $(,)?] $(,)?) => {
        kernel!($room, $name, [$($binding: $access),*], baseline tile Only;)
    };
    ($room:ident, $name:literal, [$($binding:ident: $access:ident),* $(,)?],
     baseline tile $own:ident $(($($part:tt)*))?;
     $($body:literal: on $on:ident $(where $narrowed:expr)? $(, needs $needs:ident $(($($size:tt)*))?)?
       $(, takes $takes:expr)?, tile $tile:ident ($($sides:tt)*) $(, tuned $tuned:literal)?;)*) => {
        $crate::gpu::Kernel {
            name: $name,
            room: stringify!($room),
            bindings: &[$((stringify!($binding), $crate::gpu::Access::$access)),*],
            bodies: &[
                $crate::gpu::Body {
                    name: "baseline",
                    source: kernel!(@text $room, $name),
                    needs: $crate::gpu::Needs::Nothing,
                    on: $crate::gpu::On::Any,
                    narrowed: |_| true,
                    takes: &[],
                    tile: $crate::gpu::Tile::$own $(($($part)*))?,
                    tuned: false,
                },
                $($crate::gpu::Body {
                    name: $body,
                    source: kernel!(@text $room, $name, "_", $body),
                    needs: kernel!(@or $crate::gpu::Needs::Nothing
                        $(, $crate::gpu::Needs::$needs $(($($size)*))?)?),
                    on: $crate::gpu::On::$on,
                    narrowed: kernel!(@or |_| true $(, $narrowed)?),
                    takes: kernel!(@or &[] $(, &$takes)?),
                    tile: $crate::gpu::Tile::$tile($($sides)*),
                    tuned: kernel!(@or false $(, $tuned)?),
                }),*
            ],
            joins: false,
        }
    };
}

/// The bytes of a `Params` struct.
fn params(value: &impl bytemuck::NoUninit) -> Vec<u8> {
    bytemuck::bytes_of(value).to_vec()
}

/// `Params` of a kernel that needs nothing but the number of elements.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Length {
    n: u32,
}

impl Length {
    fn of(tensor: &Tensor) -> Length {
        Length { n: tensor.len() as u32 }
    }
}

/// Workgroups for `n` elements, one invocation each: 64 is `WG` of every elementwise shader.
fn elements(n: usize) -> Result<[u32; 3]> {
    grid(n.div_ceil(64))
}

mod add_bias;
mod attention;
mod attention_decode;
mod attention_gather;
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
mod linear_fwd;
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
    AttentionBwdDkv, AttentionBwdDq, AttentionDelta, AttentionFwd, AttentionShape,
};
pub use attention_decode::AttentionDecode;
pub use attention_gather::{AttentionGather, GatherShape};
pub use ceiling::{CeilingCopy, CeilingFma};
pub use copy_rows::CopyRows;
pub use cross_entropy::{CrossEntropyFused, ReduceSum};
pub use dora::{DoraBwd, DoraScale};
pub use dora_norm::DoraNorm;
pub use elementwise::{Add, GatherRows};
pub use embed::EmbedFwd;
pub use linear::{LinearBwd, LinearGrad};
pub use linear_fwd::{Branch, Input, LinearFwd};
pub use lora::{Dropout, LoraDown, LoraDownBwd, LoraUpBwd, Mask, Part};
pub use optimizer::{AdamW, AdamW8bit, AdamWStep, ClipCoefficient, SumSquares};
pub use pack::{PackF16, UnpackF16};
pub use rms_norm::{RmsNormBwd, RmsNormFwd};
pub use rope::{Rope, RopeAppend};
pub use swiglu::{SwigluBwd, SwigluFwd};
#[cfg(not(target_arch = "wasm32"))]
pub use tune::{Contest, Tuned, tune};
pub use weight::{Dense, Kept, Matrix, Nf4Words, Storage, words_of};

use crate::Result;
use crate::gpu::{Kernel, Tensor, grid};

/// Every kernel.
pub static ALL: &[&Kernel] = &[
    &attention::FWD,
    &attention::DELTA,
    &attention::BWD_DQ,
    &attention::BWD_DKV,
    &attention_decode::DECODE,
    &attention_gather::GATHER,
    &ceiling::COPY,
    &ceiling::FMA,
    &copy_rows::COPY_ROWS,
    &dora_norm::DORA_NORM,
    &embed::FWD,
    &linear_fwd::FWD,
    &linear_fwd::FEW_ROWS,
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
