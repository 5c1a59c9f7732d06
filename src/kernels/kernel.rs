//! What every kernel's file needs: the row of its table, and its `Params` as bytes.

use crate::Result;
use crate::gpu::{Context, Tensor, grid};

/// Names a kernel, the room of its shaders, its bindings and its bodies; the sources are
/// `shaders/<room>/<name>.wgsl` for the baseline and `shaders/<room>/<name>_<body>.wgsl` for the
/// others. With `joins` in front, several of its operations may be one dispatch.
///
/// Where there is more than the baseline, each body is a row, in this order:
///
/// ```text
/// "tile": on Software where is_old, needs F16, takes Takes::ALIGNED, images [x, w], fours true,
///     tile Group([32, 64]), tuned true;
/// ```
///
/// `on` and `tile` must be said. Without `where` nothing narrows `on`, without `needs` WebGPU's
/// defaults suffice, without `takes` it takes any data, without `images` it reads storage buffers
/// everywhere, without `tuned` no measurement chooses it. One of `fours` has no file: it is the
/// baseline's text over arrays of fours.
macro_rules! kernel {
    (joins $($kernel:tt)*) => {
        $crate::gpu::Kernel { joins: true, ..kernel!($($kernel)*) }
    };
    (@text $room:ident, $($part:literal),*) => {
        $crate::gpu::shader!(concat!(stringify!($room), "/", $($part,)* ".wgsl"))
    };
    (@own $room:ident, $name:literal, $body:literal) => { kernel!(@text $room, $name, "_", $body) };
    (@own $room:ident, $name:literal, $body:literal, $fours:literal) => { kernel!(@text $room, $name) };
    (@or $default:expr) => { $default };
    (@or $default:expr, $given:expr) => { $given };
    ($room:ident, $name:literal, [$($binding:ident: $access:ident),* $(,)?] $(,)?) => {
        kernel!($room, $name, [$($binding: $access),*], baseline tile Only;)
    };
    ($room:ident, $name:literal, [$($binding:ident: $access:ident),* $(,)?],
     baseline tile $own:ident $(($($part:tt)*))?;
     $($body:literal: on $on:ident $(where $narrowed:expr)? $(, needs $needs:ident $(($($size:tt)*))?)?
       $(, takes $takes:expr)? $(, images [$($image:ident),*])?
       $(, fours $fours:literal)?, tile $tile:ident ($($sides:tt)*) $(, tuned $tuned:literal)?;)*) => {
        $crate::gpu::Kernel {
            name: $name,
            bindings: &[$((stringify!($binding), $crate::gpu::Access::$access)),*],
            bodies: &[
                $crate::gpu::Body {
                    name: "baseline",
                    source: kernel!(@text $room, $name),
                    needs: $crate::gpu::Needs::Nothing,
                    on: $crate::gpu::On::Any,
                    narrowed: |_| true,
                    takes: $crate::gpu::Takes::ANY,
                    images: &[],
                    fours: false,
                    tile: $crate::gpu::Tile::$own $(($($part)*))?,
                    tuned: false,
                },
                $($crate::gpu::Body {
                    name: $body,
                    source: kernel!(@own $room, $name, $body $(, $fours)?),
                    needs: kernel!(@or $crate::gpu::Needs::Nothing
                        $(, $crate::gpu::Needs::$needs $(($($size)*))?)?),
                    on: $crate::gpu::On::$on,
                    narrowed: kernel!(@or |_| true $(, $narrowed)?),
                    takes: kernel!(@or $crate::gpu::Takes::ANY $(, $takes)?),
                    images: kernel!(@or &[] $(, &[$(stringify!($image)),*])?),
                    fours: kernel!(@or false $(, $fours)?),
                    tile: $crate::gpu::Tile::$tile($($sides)*),
                    tuned: kernel!(@or false $(, $tuned)?),
                }),*
            ],
            joins: false,
        }
    };
}

/// The bytes of a `Params` struct.
pub(super) fn params(value: &impl bytemuck::NoUninit) -> Vec<u8> {
    bytemuck::bytes_of(value).to_vec()
}

/// `Params` of a kernel that needs nothing but the number of elements.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Length {
    n: u32,
}

impl Length {
    pub(super) fn of(tensor: &Tensor) -> Length {
        Length { n: tensor.len() as u32 }
    }
}

/// Workgroups for `n` elements, one invocation each: 64 is `WG` of every elementwise shader.
pub(super) fn elements(n: usize) -> Result<[u32; 3]> {
    grid(n.div_ceil(64))
}

/// Whether rows of `n` elements are whole fours.
pub(super) fn fours(n: usize) -> Context {
    Context { aligned: Some(n.is_multiple_of(4)), ..Context::default() }
}
