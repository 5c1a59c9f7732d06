//! What an adapter says of itself.

use super::units::{MatrixUnit, Units};

/// The largest storage binding this program uses, bytes: rows of larger tensors are sharded. 128
/// MiB everywhere, so that a model has the same shards on every adapter.
pub const SHARD_BYTES: u64 = 128 << 20;

/// The most rows of a matrix that one dispatch sums over. Mesa's llvmpipe ends the loops of an
/// invocation, without a word, after 65,535 turns of all of them together.
pub const SHARD_ROWS: usize = 32_768;

/// An adapter as `wgpu-lora info` shows it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct AdapterReport {
    /// The driver's name for it.
    pub name: String,
    /// Vulkan, Metal, Dx12, BrowserWebGpu.
    pub backend: String,
    /// DiscreteGpu, IntegratedGpu, Cpu, …
    pub kind: String,
    /// Who made it, by PCI's numbers (0x1002 AMD, 0x10de NVIDIA, 0x8086 Intel, 0x106b Apple); 0
    /// where unknown.
    pub vendor: u32,
    /// Which of the maker's, by PCI's numbers; 0 where unknown.
    pub device: u32,
    /// Where it is plugged in, such as 0000:65:00.0; empty where unknown.
    pub pci_bus_id: String,
    /// Driver and its version.
    pub driver: String,
    /// Smallest subgroup size; 0 without the feature.
    pub subgroup_min: u32,
    /// Largest subgroup size; 0 without the feature.
    pub subgroup_max: u32,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Timestamp queries.
    pub timestamps: bool,
    /// What its matrix units multiply; none where it has none.
    pub matrix_units: Vec<MatrixUnit>,
    /// Loads from storage buffers take several times as long as those from images: llvmpipe on an
    /// x86 processor without AVX-512, where a vector is filled lane by lane through memory.
    pub slow_loads: bool,
    /// Largest storage binding, bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer, bytes.
    pub max_buffer_bytes: u64,
    /// Shared memory of a workgroup, bytes.
    pub max_workgroup_bytes: u32,
    /// Invocations of a workgroup.
    pub max_workgroup_size: u32,
    /// Storage buffers of a shader.
    pub max_storage_buffers: u32,
}

impl AdapterReport {
    pub(super) fn of(adapter: &wgpu::Adapter) -> AdapterReport {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let subgroups = features.contains(wgpu::Features::SUBGROUP);
        AdapterReport {
            slow_loads: info.name.starts_with("llvmpipe") && !fills_vectors(),
            name: info.name,
            backend: format!("{:?}", info.backend),
            kind: format!("{:?}", info.device_type),
            vendor: info.vendor,
            device: info.device,
            pci_bus_id: info.device_pci_bus_id,
            driver: [info.driver, info.driver_info].join(" ").trim().to_owned(),
            subgroup_min: if subgroups { info.subgroup_min_size } else { 0 },
            subgroup_max: if subgroups { info.subgroup_max_size } else { 0 },
            f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            matrix_units: MatrixUnit::of(adapter),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_workgroup_size: limits.max_compute_invocations_per_workgroup,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        }
    }

    /// Name and place of the card.
    pub fn card(&self) -> String {
        [self.name.as_str(), &self.pci_bus_id].join(" ").trim().to_owned()
    }

    /// Whether it is a processor.
    pub(super) fn is_software(&self) -> bool {
        self.kind == "Cpu"
    }

    /// Whether both are one card, offered by two backends or two drivers.
    pub(super) fn is_card_of(&self, other: &AdapterReport) -> bool {
        if !self.pci_bus_id.is_empty() && !other.pci_bus_id.is_empty() {
            return self.pci_bus_id == other.pci_bus_id;
        }
        let known = self.device != 0;
        let same = (self.vendor, self.device) == (other.vendor, other.device);
        self.backend != other.backend && same && (known || self.name == other.name)
    }

    /// The matrix units that bodies run on, where they are opened.
    pub(super) fn units(&self) -> Units {
        Units::of(&self.matrix_units, self.f16)
    }

    /// What of it programs cannot use and why, where that is known.
    pub fn notes(&self) -> Vec<String> {
        let by_fxc = self.backend == "Dx12" && self.subgroup_max == 0;
        let fxc = by_fxc.then(|| {
            "its shaders are compiled by FXC, which knows neither subgroups nor 16-bit floats; with \
             dxcompiler.dll (DirectXShaderCompiler, 1.8.2502 or newer) beside this program it has both"
                .to_owned()
        });
        // Intel's.
        let idle = self.matrix_units.first().filter(|_| self.units() == Units::default());
        let units = idle.map(|unit| {
            format!(
                "its matrix units ({unit}) stay idle: WGSL as naga 30 knows it has those of 8 x 8 x 8 and \
                 16 x 16 x 16, and they are used where they add f32"
            )
        });
        fxc.into_iter().chain(units).collect()
    }
}

/// Whether this processor writes one lane of a vector that a register names, as AVX-512's masks do.
/// Only x86 processors are known not to.
fn fills_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_compiles_with_fxc_is_told_what_to_put_beside_the_program() {
        let report = |backend: &str, subgroup_max| AdapterReport {
            backend: backend.into(),
            subgroup_max,
            ..AdapterReport::default()
        };
        let notes = report("Dx12", 0).notes().concat();
        assert!(notes.contains("dxcompiler.dll") && notes.contains("1.8.2502"), "{notes}");
        assert!(report("Dx12", 32).notes().is_empty() && report("Vulkan", 0).notes().is_empty());
    }

    #[test]
    fn matrix_units_that_no_body_can_use_are_named() {
        let unit = |[m, n, k]: [u32; 3]| MatrixUnit { m, n, k, factors: "f16", sums: "f32" };
        let notes = |matrix_units| {
            AdapterReport { f16: true, matrix_units, ..AdapterReport::default() }.notes().concat()
        };
        let intel = notes(vec![unit([8, 16, 16])]);
        assert!(intel.contains("8 x 16 x 16, f16 into f32"), "{intel}");
        assert_eq!(notes(vec![unit([8, 16, 16]), unit([16; 3])]), "");
    }
}
