//! One file per family of operations: bindings, `Params`, shape checks, dispatch, twin call.
//! [`ALL`] is the table that tests, benches and the shader dump walk.

/// Names a kernel, its bindings and its bodies; the sources are `shaders/<name>.wgsl` for the
/// baseline and `shaders/<name>_<body>.wgsl` for the others.
macro_rules! kernel {
    ($name:literal, [$($binding:ident: $access:ident),* $(,)?]
     $(, $body:literal: $needs:expr, only [$($only:literal),*])* $(,)?) => {
        $crate::gpu::Kernel {
            name: $name,
            bindings: &[$((stringify!($binding), $crate::gpu::Access::$access)),*],
            bodies: &[
                $crate::gpu::Body {
                    name: "baseline",
                    source: include_str!(concat!("../../shaders/", $name, ".wgsl")),
                    needs: $crate::gpu::Needs::Nothing,
                    only: &[],
                },
                $($crate::gpu::Body {
                    name: $body,
                    source: include_str!(concat!("../../shaders/", $name, "_", $body, ".wgsl")),
                    needs: $needs,
                    only: &[$($only),*],
                }),*
            ],
        }
    };
}

/// The bytes of a `Params` struct.
fn params(value: &impl bytemuck::NoUninit) -> Vec<u8> {
    bytemuck::bytes_of(value).to_vec()
}

mod linear;
mod rms_norm;
mod weight;

pub use linear::{LinearBwd, LinearFwd, LinearGrad};
pub use rms_norm::{RmsNormBwd, RmsNormFwd};
pub use weight::{Dense, Matrix, Storage};

use crate::gpu::Kernel;

/// Every kernel.
pub static ALL: &[&Kernel] = &[&linear::FWD, &linear::BWD, &linear::GRAD, &rms_norm::FWD, &rms_norm::BWD];
