//! What a driver says about the code that it made: VK_KHR_pipeline_executable_properties.
//!
//! wgpu makes the pipelines. Its device calls `vkCreateComputePipelines` through a table of
//! functions, in which [`device`] puts one that asks for statistics and takes them.

use ash::{khr, vk};
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

/// A driver's numbers by its own names, of all parts of a pipeline.
pub type Statistics = BTreeMap<String, f64>;

/// The driver's own functions.
struct Driver {
    create: vk::PFN_vkCreateComputePipelines,
    executables: khr::pipeline_executable_properties::Device,
}

static DRIVER: OnceLock<Mutex<Option<Driver>>> = OnceLock::new();
static LAST: Mutex<Option<Statistics>> = Mutex::new(None);

/// The statistics of the pipeline that was made last; `None` if none was since the last call.
pub fn take() -> Option<Statistics> {
    LAST.lock().ok()?.take()
}

/// The functions of a device, with ours where pipelines are made.
///
/// # Safety
/// The device must come from this instance and have the extension and its feature enabled.
pub unsafe fn device(instance: &ash::Instance, raw: vk::Device) -> ash::Device {
    let own = unsafe { ash::Device::load(instance.fp_v1_0(), raw) };
    let driver = Driver {
        create: own.fp_v1_0().create_compute_pipelines,
        executables: khr::pipeline_executable_properties::Device::new(instance, &own),
    };
    if let Ok(mut kept) = DRIVER.get_or_init(Mutex::default).lock() {
        *kept = Some(driver);
    }
    let hooked: vk::PFN_vkCreateComputePipelines = create;
    let load = |name: &std::ffi::CStr| {
        if name == c"vkCreateComputePipelines" {
            return hooked as *const std::ffi::c_void;
        }
        match unsafe { instance.get_device_proc_addr(raw, name.as_ptr()) } {
            Some(function) => function as *const std::ffi::c_void,
            None => std::ptr::null(),
        }
    };
    unsafe { ash::Device::load_with(load, raw) }
}

/// `vkCreateComputePipelines`, with statistics of the first pipeline.
unsafe extern "system" fn create(
    device: vk::Device,
    cache: vk::PipelineCache,
    count: u32,
    infos: *const vk::ComputePipelineCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    made: *mut vk::Pipeline,
) -> vk::Result {
    let Some(Ok(driver)) = DRIVER.get().map(Mutex::lock) else {
        return vk::Result::ERROR_UNKNOWN;
    };
    let Some(driver) = driver.as_ref() else { return vk::Result::ERROR_UNKNOWN };
    let mut infos = unsafe { std::slice::from_raw_parts(infos, count as usize) }.to_vec();
    for info in &mut infos {
        info.flags |= vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR;
    }
    let result = unsafe { (driver.create)(device, cache, count, infos.as_ptr(), allocator, made) };
    if result == vk::Result::SUCCESS
        && let Ok(mut last) = LAST.lock()
    {
        *last = unsafe { ask(&driver.executables, *made) }.ok();
    }
    result
}

unsafe fn ask(
    executables: &khr::pipeline_executable_properties::Device,
    pipeline: vk::Pipeline,
) -> Result<Statistics, vk::Result> {
    let mut statistics = Statistics::new();
    let about = vk::PipelineInfoKHR::default().pipeline(pipeline);
    let parts = unsafe { executables.get_pipeline_executable_properties(&about) }?;
    for part in 0..parts.len() as u32 {
        let about =
            vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(part);
        for statistic in unsafe { executables.get_pipeline_executable_statistics(&about) }? {
            use vk::PipelineExecutableStatisticFormatKHR as Format;
            let value = unsafe {
                match statistic.format {
                    Format::UINT64 => statistic.value.u64 as f64,
                    Format::INT64 => statistic.value.i64 as f64,
                    Format::FLOAT64 => statistic.value.f64,
                    _ => f64::from(statistic.value.b32),
                }
            };
            if let Ok(name) = statistic.name_as_c_str() {
                statistics.insert(name.to_string_lossy().into_owned(), value);
            }
        }
    }
    Ok(statistics)
}
