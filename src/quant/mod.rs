//! NF4 quantization as bitsandbytes does it: codebook, block size, nibble order and double
//! quantization are decided here and nowhere else.
//!
//! Everything runs on the host, in plain `f32` with one rounding per operation, because the result
//! must be the same bytes on every machine: a shader may flush denormals, fuse `a·b + c` and divide
//! to 2.5 ulp.

mod dynamic8;
mod matrix;
mod nf4;

pub use dynamic8::{
    NESTED_BLOCK, dequantize_scales, dynamic8_code, mean_like_torch, nearest_code, quantize_scales,
};
pub use matrix::{Nf4Matrix, Nf4Quantizer, Nf4Scales};
pub use nf4::{NF4_BLOCK, NF4_CODE, NF4_THRESHOLDS, dequantize, quantize};
