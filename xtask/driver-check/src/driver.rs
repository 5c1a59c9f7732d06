//! A device on the driver that the loader finds, and pipelines made on it as the program makes
//! them.

use crate::bodies::Body;
use crate::statistics::{self, Statistics};
use anyhow::{Context, Result, bail};
use ash::{khr, vk};
use std::sync::{Arc, Mutex};
use wgpu::CooperativeScalarType::{F16, F32};
use wgpu::hal::api::Vulkan;
use wgpu::naga;

const COOPERATIVE: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

/// What became of a body.
pub enum Outcome {
    Made(Statistics),
    /// The driver has no such feature.
    Lacks,
    Refused(String),
    /// wgpu's word for an error that the driver does not name.
    Lost(String),
}

pub struct Driver {
    adapter: wgpu::Adapter,
    device: wgpu::Device,
    lost: Arc<Mutex<Option<String>>>,
    features: wgpu::Features,
    /// The factors' type and the size of square matrix units with f32 sums.
    units: Vec<(wgpu::CooperativeScalarType, u32)>,
}

impl Driver {
    /// Opens the first Vulkan adapter.
    pub fn open() -> Result<Driver> {
        let mut about = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        about.backends = wgpu::Backends::VULKAN;
        let instance = wgpu::Instance::new(about);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        let adapter = adapters.into_iter().next().context("the driver offers no adapter")?;
        let wanted = wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | COOPERATIVE;
        let features = adapter.features() & wanted;
        let units = adapter
            .cooperative_matrix_properties()
            .into_iter()
            .filter(|unit| unit.cr_type == F32 && [F16, F32].contains(&unit.ab_type))
            .filter(|unit| unit.m_size == unit.n_size && unit.n_size == unit.k_size)
            .map(|unit| (unit.ab_type, unit.m_size))
            .collect();
        let device = device(&adapter, features)?;
        let lost = Arc::new(Mutex::new(None));
        let note = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, why| {
            if let Ok(mut note) = note.lock() {
                note.get_or_insert(format!("{reason:?}: {why}"));
            }
        });
        Ok(Driver { adapter, device, lost, features, units })
    }

    /// The adapter's name and its driver's, in a line.
    pub fn about(&self) -> String {
        let info = self.adapter.get_info();
        format!("{}, {} {}", info.name, info.driver, info.driver_info)
    }

    pub fn make(&self, body: &Body) -> Outcome {
        if !self.has_what_it_needs(body) {
            return Outcome::Lacks;
        }
        statistics::take();
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = self.pipeline(body);
        let fault = pollster::block_on(scope.pop());
        if let Some(why) = self.lost.lock().ok().and_then(|lost| lost.clone()) {
            return Outcome::Lost(why);
        }
        match (made, fault) {
            (Err(why), _) => Outcome::Refused(why),
            (_, Some(fault)) => Outcome::Refused(fault.to_string()),
            _ => match statistics::take() {
                Some(statistics) => Outcome::Made(statistics),
                None => Outcome::Refused("the driver made it and says nothing about it".into()),
            },
        }
    }

    fn has_what_it_needs(&self, body: &Body) -> bool {
        let has =
            |capability: &str, feature| !body.needs(capability) || self.features.contains(feature);
        let names = self.units.iter().map(|(factors, size)| {
            format!("unit_{}_{size}", if *factors == F16 { "f16" } else { "f32" })
        });
        let modules: Vec<&str> = body.variant.split('+').collect();
        has("f16", wgpu::Features::SHADER_F16)
            && has("subgroups", wgpu::Features::SUBGROUP)
            && has("cooperative-matrix", COOPERATIVE)
            && (!body.needs("cooperative-matrix")
                || names.into_iter().any(|name| modules.contains(&name.as_str())))
    }

    fn pipeline(&self, body: &Body) -> Result<(), String> {
        let label = body.label();
        let about = wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(body.text.as_str().into()),
        };
        // SAFETY: nothing is ever dispatched.
        let module = unsafe {
            self.device.create_shader_module_trusted(about, wgpu::ShaderRuntimeChecks::unchecked())
        };
        let group = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &bindings(body)?,
        });
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&group)],
            immediate_size: 0,
        });
        // A reduction by subgroups has workgroups of one.
        let subgroup = f64::from(self.adapter.get_info().subgroup_max_size.max(1));
        let by_subgroup = [("WG", subgroup)];
        let constants =
            if body.variant.contains("reduce_subgroup") { &by_subgroup[..] } else { &[] };
        let _pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(&body.kernel),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Ok(())
    }
}

/// The bindings of a text, as the program lays them out: `Params` with an offset, then tensors.
fn bindings(body: &Body) -> Result<Vec<wgpu::BindGroupLayoutEntry>, String> {
    let mut options = naga::front::wgsl::Options::new();
    options.capabilities = naga::valid::Capabilities::all();
    let module = naga::front::wgsl::Frontend::new_with_options(options)
        .parse(&body.text)
        .map_err(|error| error.emit_to_string(&body.text))?;
    let globals = module.global_variables.iter();
    Ok(globals
        .filter_map(|(_, global)| {
            let binding = global.binding.as_ref()?.binding;
            let ty = match global.space {
                naga::AddressSpace::Storage { access } => wgpu::BufferBindingType::Storage {
                    read_only: !access.contains(naga::StorageAccess::STORE),
                },
                _ => wgpu::BufferBindingType::Uniform,
            };
            Some(wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty,
                    has_dynamic_offset: binding == 0,
                    min_binding_size: None,
                },
                count: None,
            })
        })
        .collect())
}

/// A device of wgpu whose pipelines have statistics.
fn device(adapter: &wgpu::Adapter, features: wgpu::Features) -> Result<wgpu::Device> {
    let has = adapter.limits();
    let limits = wgpu::Limits {
        max_buffer_size: has.max_buffer_size,
        max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
        max_compute_workgroup_storage_size: has.max_compute_workgroup_storage_size,
        ..wgpu::Limits::default().or_worse_values_from(&has)
    };
    let hints = wgpu::MemoryHints::MemoryUsage;
    // SAFETY: the device comes from this adapter, with what wgpu asks for and one extension more.
    let open = unsafe {
        let hal = adapter.as_hal::<Vulkan>().context("not a Vulkan adapter")?;
        let extension = khr::pipeline_executable_properties::NAME;
        if !hal.physical_device_capabilities().supports_extension(extension) {
            bail!("the driver has no {}", extension.to_string_lossy());
        }
        let required = hal.required_device_extensions(features);
        let mut enabled = hal.physical_device_features(&required, features);
        let names: Vec<_> = required.iter().chain([&extension]).map(|name| name.as_ptr()).collect();
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let mut executables = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
            .pipeline_executable_info(true);
        let about = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&names)
            .push_next(&mut executables);
        let about = enabled.add_to_device_create(about);
        let instance = hal.shared_instance().raw_instance();
        let raw = instance.create_device(hal.raw_physical_device(), &about, None)?.handle();
        let raw = statistics::device(instance, raw);
        hal.device_from_raw(raw, None, &required, features, &limits, &hints, 0, 0)?
    };
    let experimental = match features.contains(COOPERATIVE) {
        // SAFETY: nothing is ever dispatched.
        true => unsafe { wgpu::ExperimentalFeatures::enabled() },
        false => wgpu::ExperimentalFeatures::disabled(),
    };
    let about = wgpu::DeviceDescriptor {
        required_features: features,
        required_limits: limits,
        memory_hints: hints,
        experimental_features: experimental,
        ..Default::default()
    };
    // SAFETY: as above; features and limits are those that it was opened with.
    Ok(unsafe { adapter.create_device_from_hal(open, &about) }?.0)
}
