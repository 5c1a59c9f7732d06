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
mod body;
mod caps;
mod choices;
mod compose;
mod context;
mod form;
mod images;
mod join;
#[cfg(not(target_arch = "wasm32"))]
mod kept;
mod library;
mod memory;
mod number;
mod op;
mod pipeline;
#[cfg(not(target_arch = "wasm32"))]
mod pipeline_cache;
mod policy;
mod profile;
mod recorder;
mod select;
mod slice;
mod tensor;
mod tile;
mod transfer;
mod verify;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

pub use adapter::{AdapterReport, SHARD_BYTES, SHARD_ROWS};
pub use body::{Access, Body, Kernel, Needs, On};
pub use caps::Caps;
pub use choices::{Choices, Origin, Tuning};
pub use compose::{COOPERATIVE, ModuleText, Target, compose};
pub use context::HALF;
pub use form::Form;
pub use images::image_bytes;
pub use library::library;
pub use op::{Host, HostBuffers, Op, Work};
pub use policy::Policy;
pub use profile::{Profile, ProfileRow};
pub use recorder::{PARAMS_BYTES, Recorder};
pub use select::Selection;
pub use tensor::{ALIGN_WORDS, Elem, Tensor, buffer_bytes};
pub use tile::Tile;
pub(crate) use tile::grid;
pub use transfer::Reading;
pub use verify::difference;

use crate::{Error, Result};

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Part of the adapter's name, without regard to case; the best adapter when `None`.
    pub adapter: Option<String>,
    /// Which kernel variants to use.
    pub policy: Policy,
    /// Which of several close ones, under [`Policy::Auto`].
    pub tuning: Tuning,
    /// Run the CPU twin after every dispatch and stop at the first that disagrees (native only).
    pub verify: bool,
    /// Open wgpu's no-op device instead of an adapter (native only): shaders, pipelines, bind groups and
    /// sizes are checked as on any other, and nothing is computed. It needs no driver.
    pub validate_only: bool,
    /// Bytes that the device may hold, instead of what the backend tells (a browser tells nothing).
    pub memory: Option<u64>,
    /// Folder that keeps the driver's compiled pipelines between runs, a file per adapter and driver
    /// (native only, where the backend allows it).
    pub pipeline_cache: Option<std::path::PathBuf>,
    /// The device will have subgroups although wgpu does not ask for them: wgpu 30 has no name for the feature
    /// in browsers, so `web/wgpu_lora.js` adds it to the request. Nothing to set natively.
    pub subgroups: bool,
}

/// An open graphics device. Cheap to clone; all clones share one device.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
    /// Set where what is recorded is written down by the names of its variants, and not run.
    listed: Option<Arc<Mutex<BTreeSet<String>>>>,
}

pub(crate) struct Inner {
    #[cfg(not(target_arch = "wasm32"))]
    pipeline_cache: Option<pipeline_cache::PipelineCache>,
    device: wgpu::Device,
    queue: wgpu::Queue,
    caps: Caps,
    memory: Option<u64>,
    /// Of all tensors alive.
    tensor_bytes: AtomicU64,
    /// Bytes that wait in staging memory.
    staged: AtomicU64,
    /// Nanoseconds of the longest submission until now, on a slow GPU.
    longest: AtomicU64,
    verify: bool,
    pipelines: pipeline::Cache,
    images: images::Images,
    fault: Arc<Mutex<Option<Fault>>>,
    profile: Mutex<Option<Profile>>,
}

/// What the driver has reported.
#[derive(Clone)]
struct Fault {
    /// Whether it has given the device up.
    lost: bool,
    why: String,
}

const NO_ADAPTER_HINT: &str = "Install a graphics driver, or a software one: Debian/Ubuntu `apt-get install \
     mesa-vulkan-drivers`, Fedora `dnf install mesa-vulkan-drivers`, Arch `pacman -S vulkan-swrast`; \
     `wgpu-lora info` lists what is found";

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env())
}

/// wgpu's no-op backend, as an adapter with subgroups of 8, so that it takes every variant.
#[cfg(not(target_arch = "wasm32"))]
fn no_op_instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    let no_op = &mut descriptor.backend_options.noop;
    no_op.enable = true;
    no_op.subgroup_min_size = Some(8);
    no_op.subgroup_max_size = Some(8);
    wgpu::Instance::new(descriptor)
}

/// Lists every adapter that the installed drivers offer, best first.
pub async fn adapters() -> Vec<AdapterReport> {
    let mut found = instance().enumerate_adapters(wgpu::Backends::all()).await;
    found.sort_by_key(|adapter| adapter::rank(&adapter.get_info()));
    found.iter().map(AdapterReport::of).collect()
}

async fn pick(options: &GpuOptions) -> Result<wgpu::Adapter> {
    #[cfg(target_arch = "wasm32")]
    {
        let _ = options;
        let instance = instance();
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        instance.request_adapter(&options).await.map_err(|e| Error::NoAdapter {
            why: e.to_string(),
            hint:
                "This browser offers no WebGPU here; use a recent Chrome, Edge, Safari or Firefox"
                    .into(),
        })
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        let wanted = options.adapter.as_deref().filter(|_| !options.validate_only);
        let instance = if options.validate_only { no_op_instance() } else { instance() };
        let mut found = instance.enumerate_adapters(wgpu::Backends::all()).await;
        found.sort_by_key(|adapter| adapter::rank(&adapter.get_info()));
        let names: Vec<String> = found.iter().map(|a| a.get_info().name).collect();
        let hit = found.into_iter().find(|adapter| {
            wanted
                .is_none_or(|w| adapter.get_info().name.to_lowercase().contains(&w.to_lowercase()))
        });
        hit.ok_or_else(|| Error::NoAdapter {
            why: match wanted {
                Some(w) if !names.is_empty() => {
                    format!("none is called `{w}`; there are: {}", names.join(", "))
                }
                _ => "no driver offers one".into(),
            },
            hint: NO_ADAPTER_HINT.into(),
        })
    }
}

/// wgpu's token for features that it does not vouch for; none unless one of them is asked for.
fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if !features.intersects(wgpu::Features::all_experimental_mask()) {
        return wgpu::ExperimentalFeatures::disabled();
    }
    #[allow(unsafe_code, reason = "matrix units, only where WGPU_LORA_VARIANT names their body")]
    // SAFETY: the user has asked for it; the kernels that use it are ours and guard their indices.
    unsafe {
        wgpu::ExperimentalFeatures::enabled()
    }
}

impl Gpu {
    /// Opens the best adapter. **Errors** [`Error::NoAdapter`] says how to install a software one.
    pub async fn new() -> Result<Gpu> {
        Gpu::with(GpuOptions::default()).await
    }

    /// Opens an adapter chosen by `options`.
    pub async fn with(options: GpuOptions) -> Result<Gpu> {
        let adapter = pick(&options).await?;
        let mut caps = Caps::of(&adapter, options.policy, options.subgroups);
        caps.choices = match options.tuning {
            Tuning::Shipped => Choices::default(),
            #[cfg(not(target_arch = "wasm32"))]
            Tuning::Kept(folder) => Choices::kept(&folder, &caps.adapter).unwrap_or_default(),
            Tuning::Given(choices) => choices,
        };
        let mut features = caps.features(&adapter);
        if options.pipeline_cache.is_some() {
            features |= adapter.features() & wgpu::Features::PIPELINE_CACHE;
        }
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("wgpu-lora"),
                required_features: features,
                required_limits: caps.limits(&adapter),
                memory_hints: wgpu::MemoryHints::MemoryUsage,
                experimental_features: experimental(features),
                ..Default::default()
            })
            .await
            .map_err(|e| Error::NoAdapter {
                why: format!("{} refused a device: {e}", caps.adapter.name),
                hint: NO_ADAPTER_HINT.into(),
            })?;
        let fault = Arc::new(Mutex::new(None));
        let note = || {
            let fault = fault.clone();
            move |lost: bool, why: String| {
                if let Ok(mut slot) = fault.lock() {
                    slot.get_or_insert(Fault { lost, why });
                }
            }
        };
        let on_error = note();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| on_error(false, e.to_string())));
        let on_lost = note();
        device.set_device_lost_callback(move |reason, why| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                on_lost(true, format!("{why} ({reason:?})"));
            }
        });
        tracing::info!(adapter = %caps.adapter.name, backend = %caps.adapter.backend, %caps, "device opened");
        let inner = Inner {
            queue,
            memory: options.memory.or_else(|| memory::device_bytes(&adapter, caps.software)),
            tensor_bytes: AtomicU64::new(0),
            staged: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            caps,
            verify: options.verify,
            #[cfg(not(target_arch = "wasm32"))]
            pipeline_cache: options
                .pipeline_cache
                .as_deref()
                .and_then(|folder| pipeline_cache::PipelineCache::open(&device, &adapter, folder)),
            device,
            pipelines: pipeline::Cache::default(),
            images: images::Images::default(),
            fault,
            profile: Mutex::new(None),
        };
        Ok(Gpu { inner: Arc::new(inner), listed: None })
    }

    /// What the device can do, and which variants follow from it.
    pub fn caps(&self) -> &Caps {
        &self.inner.caps
    }

    /// Starts recording operations; `label` names them in errors.
    pub fn recorder(&self, label: &'static str) -> Recorder {
        Recorder::new(self.clone(), label)
    }

    /// A handle on the same device whose recorders only write down which variants they would run.
    pub(crate) fn listing(&self) -> Gpu {
        Gpu { inner: self.inner.clone(), listed: Some(Arc::default()) }
    }

    /// The names of the variants that a [`listing`](Gpu::listing) handle was asked for.
    pub(crate) fn listed(&self) -> BTreeSet<String> {
        let names = self.listed.as_ref().and_then(|names| names.lock().ok());
        names.map(|names| names.clone()).unwrap_or_default()
    }

    /// Gives the device up: whatever is asked of it from now on fails with [`Error::Device`], as after a
    /// driver has lost it. Its memory is free once nothing runs.
    pub fn destroy(&self) {
        self.inner.device.destroy();
        if let Ok(mut slot) = self.inner.fault.lock() {
            slot.get_or_insert(Fault { lost: false, why: "the device was given up".into() });
        }
    }

    /// The first error the driver reported since the device was opened, as [`Error::Device`] or [`Error::DeviceLost`].
    pub fn check(&self, during: &str) -> Result<()> {
        let fault = self.inner.fault.lock().ok().and_then(|f| f.clone());
        match fault {
            None => Ok(()),
            Some(Fault { lost: true, why }) => {
                Err(Error::DeviceLost { during: during.into(), why })
            }
            Some(Fault { why, .. }) => Err(Error::Device { during: during.into(), why }),
        }
    }

    /// Whether the driver has given the device up: everything on it is gone, and only a new one helps.
    pub fn is_lost(&self) -> bool {
        self.inner.fault.lock().is_ok_and(|fault| fault.as_ref().is_some_and(|fault| fault.lost))
    }

    /// Bytes that wgpu's allocator has given out, and that it holds on the device, where the backend
    /// can tell.
    pub fn allocator_bytes(&self) -> Option<(u64, u64)> {
        let report = self.inner.device.generate_allocator_report()?;
        let given = report.allocations.iter().map(|a| a.size).sum();
        Some((given, report.total_reserved_bytes))
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({}, {})", self.inner.caps.adapter.name, self.inner.caps)
    }
}
