//! Which adapter is opened, and how.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use super::bind::{Groups, Ring};
use super::cards::{named, once_each, rank};
use super::device::Inner;
use super::fault::Faults;
use super::images::Images;
#[cfg(not(target_arch = "wasm32"))]
use super::pipeline_cache::PipelineCache;
use super::variant::Variants;
use super::{AdapterReport, Caps, Choices, Gpu, Policy, Tuning, memory};
use crate::{Error, Result};

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Part of the adapter's name, without regard to case, or its number in [`adapters`]; the best
    /// adapter when `None`.
    pub adapter: Option<String>,
    /// Which kernel variants to use.
    pub policy: Policy,
    /// Which of several close ones, under [`Policy::Auto`].
    pub tuning: Tuning,
    /// Run the CPU twin after every dispatch and stop at the first that disagrees (native only).
    pub verify: bool,
    /// Open wgpu's no-op device instead of an adapter (native only): shaders, pipelines, bind
    /// groups and sizes are checked as on any other, and nothing is computed. It needs no driver.
    pub validate_only: bool,
    /// Bytes that the device may hold, instead of what the backend tells (a browser tells nothing).
    pub memory: Option<u64>,
    /// Folder that keeps the driver's compiled pipelines between runs, a file per adapter and
    /// driver (native only, where the backend allows it).
    pub pipeline_cache: Option<std::path::PathBuf>,
    /// The device will have subgroups although wgpu does not ask for them: wgpu 30 has no name for
    /// the feature in browsers, so `web/wgpu_lora.js` adds it to the request. Nothing to set
    /// natively.
    pub subgroups: bool,
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
    found.sort_by_key(|adapter| rank(&adapter.get_info()));
    found.iter().map(AdapterReport::of).collect()
}

/// The numbers in [`adapters`] of those that [`GpuOptions::adapter`] leaves, every card once;
/// software only where there is nothing else.
pub async fn cards(wanted: Option<&str>) -> Vec<usize> {
    let all = adapters().await;
    once_each(&all, &named(&all, wanted))
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
        found.sort_by_key(|adapter| rank(&adapter.get_info()));
        let reports = Vec::from_iter(found.iter().map(AdapterReport::of));
        let hit = named(&reports, wanted).first().map(|&hit| found.swap_remove(hit));
        hit.ok_or_else(|| Error::NoAdapter {
            why: match wanted {
                Some(w) if !reports.is_empty() => {
                    let names = Vec::from_iter(reports.iter().map(|report| report.name.as_str()));
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
    #[allow(unsafe_code, reason = "matrix units, where they are asked for or measured")]
    // SAFETY: the kernels that use it are ours and guard their indices; but for the user's word,
    // none is chosen whose results were not held to its twin's on this device.
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
        let measuring = matches!(options.tuning, Tuning::Measuring);
        caps.choices = match options.tuning {
            Tuning::Shipped | Tuning::Measuring => Choices::default(),
            #[cfg(not(target_arch = "wasm32"))]
            Tuning::Kept(folder) => Choices::kept(&folder, &caps.adapter).unwrap_or_default(),
            Tuning::Given(choices) => choices,
        };
        caps.take_units(measuring);
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
        let faults = Faults::of(&device);
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
                .and_then(|folder| PipelineCache::open(&device, &adapter, folder)),
            images: Images::new(device.limits().max_texture_dimension_2d),
            device,
            variants: Variants::default(),
            groups: Groups::default(),
            ring: Ring::default(),
            faults,
            profile: Mutex::new(None),
        };
        Ok(Gpu { inner: Arc::new(inner), listed: None })
    }
}
