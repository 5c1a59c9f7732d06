//! Everything that knows wgpu. Layers describe operations ([`Op`]) and record them ([`Recorder`]);
//! no wgpu type leaves this module.

#![cfg_attr(
    target_arch = "wasm32",
    allow(
        clippy::arc_with_non_send_sync,
        reason = "the browser's wgpu types stay on their thread; one type serves all targets"
    )
)]

mod adapter;
mod bind;
mod body;
mod caps;
mod cards;
mod choices;
mod compose;
mod context;
mod device;
mod dispatch;
mod fault;
mod form;
#[cfg(any(feature = "hot-shaders", test))]
mod hot;
mod images;
#[cfg(not(target_arch = "wasm32"))]
mod kept;
mod library;
mod lock;
mod memory;
mod number;
mod op;
mod open;
mod pipeline;
#[cfg(not(target_arch = "wasm32"))]
mod pipeline_cache;
mod policy;
mod profile;
mod recorder;
mod select;
mod shader;
mod slice;
mod tensor;
mod tile;
mod transfer;
#[cfg(not(target_arch = "wasm32"))]
mod trial;
mod units;
mod variant;
mod verify;

pub use adapter::{AdapterReport, SHARD_BYTES, SHARD_ROWS};
pub use body::{Access, Body, Kernel, Needs, On};
pub use caps::Caps;
pub use choices::{Choices, Origin, Tuning};
pub use compose::{COOPERATIVE, Target};
pub use context::{Context, HALF, HEADS, Prologue, Rank, Takes, Weight};
pub use device::Gpu;
pub use dispatch::PARAMS_BYTES;
pub use form::Form;
pub use images::image_bytes;
pub use library::{library, uses};
pub use op::{Host, HostBuffers, Op, Work};
pub use open::{GpuOptions, adapters, cards};
pub use policy::Policy;
pub use profile::{Profile, ProfileRow};
pub use recorder::Recorder;
pub use select::Selection;
pub use shader::Source;
#[cfg(target_arch = "wasm32")]
pub(crate) use shader::without_comments;
pub(crate) use shader::{built_in, shader};
pub use tensor::{ALIGN_WORDS, Elem, Tensor, buffer_bytes};
pub use tile::Tile;
pub(crate) use tile::grid;
pub use transfer::Reading;
pub use units::{MatrixUnit, Units};
pub use verify::difference;
