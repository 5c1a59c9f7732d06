//! What an adapter can do, and the kernel variants that follow from it.

use std::fmt;

use super::Form;
use super::choices::{Choices, Origin};
use super::op::{Body, FREE, Kernel, Needs, Selection};
use crate::{Error, Result};

/// The largest storage binding this program uses, bytes: rows of larger tensors are sharded. 128 MiB
/// everywhere, so that a model has the same shards on every adapter.
pub const SHARD_BYTES: u64 = 128 << 20;

/// The most rows of a matrix that one dispatch sums over. Mesa's llvmpipe ends the loops of an
/// invocation, without a word, after 65,535 turns of all of them together.
pub const SHARD_ROWS: usize = 32_768;

/// How names of bodies for matrix units begin. They run only where they are asked for.
const COOPERATIVE_BODIES: &str = "cooperative";

/// Whether an adapter has matrix units of f32 (8 × 8 × 8), and of f16 with f32 sums (16 × 16 × 16).
fn cooperative(adapter: &wgpu::Adapter) -> [bool; 2] {
    use wgpu::CooperativeScalarType::{F16, F32};
    let able = adapter
        .features()
        .contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP);
    let units = adapter.cooperative_matrix_properties();
    [(8, F32), (16, F16)].map(|(size, factors)| {
        let sizes = |unit: &wgpu::CooperativeMatrixProperties| {
            [unit.m_size, unit.n_size, unit.k_size] == [size; 3]
        };
        able && units.iter().any(|u| sizes(u) && u.ab_type == factors && u.cr_type == F32)
    })
}

/// Which of a kernel's variants to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The fastest that the adapter is known to run.
    #[default]
    Auto,
    /// Only what WebGPU's default limits and features allow.
    Baseline,
    /// The named body or module where a kernel has it and the adapter can run it, else `Auto`.
    Prefer(String),
}

impl Policy {
    /// Reads `WGPU_LORA_VARIANT`: unset is [`Policy::Auto`], `baseline`, or the name to prefer.
    pub fn from_env() -> Policy {
        Policy::named(&std::env::var("WGPU_LORA_VARIANT").unwrap_or_default())
    }

    /// The policy of a name: empty or `auto`, `baseline`, or what to prefer.
    pub fn named(name: &str) -> Policy {
        match name {
            "" | "auto" => Policy::Auto,
            "baseline" | "f32+workgroup" => Policy::Baseline,
            name => Policy::Prefer(name.to_owned()),
        }
    }

    /// Whether it names a body for matrix units.
    fn wants_cooperative(&self) -> bool {
        matches!(self, Policy::Prefer(name) if name.starts_with(COOPERATIVE_BODIES))
    }

    /// Its name, which [`Policy::named`] takes.
    pub fn name(&self) -> &str {
        match self {
            Policy::Auto => "auto",
            Policy::Baseline => "baseline",
            Policy::Prefer(name) => name,
        }
    }
}

/// An adapter as `wgpu-lora info` shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AdapterReport {
    /// The driver's name for it.
    pub name: String,
    /// Vulkan, Metal, Dx12, BrowserWebGpu.
    pub backend: String,
    /// DiscreteGpu, IntegratedGpu, Cpu, …
    pub kind: String,
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
            name: info.name,
            backend: format!("{:?}", info.backend),
            kind: format!("{:?}", info.device_type),
            driver: [info.driver, info.driver_info].join(" ").trim().to_owned(),
            subgroup_min: if subgroups { info.subgroup_min_size } else { 0 },
            subgroup_max: if subgroups { info.subgroup_max_size } else { 0 },
            f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_workgroup_size: limits.max_compute_invocations_per_workgroup,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        }
    }
}

/// Best first: discrete, integrated, virtual, unknown, software; native backends before GL.
pub(super) fn rank(info: &wgpu::AdapterInfo) -> (u8, u8) {
    use wgpu::{Backend, DeviceType};
    let kind = match info.device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    let backend = match info.backend {
        Backend::Metal | Backend::Vulkan => 0,
        Backend::Dx12 => 1,
        _ => 2,
    };
    (kind, backend)
}

/// A device's abilities, as far as kernels care.
#[derive(Clone, Debug)]
pub struct Caps {
    /// The adapter behind the device.
    pub adapter: AdapterReport,
    /// A software rasterizer: barriers are dear, storage loads are scalar.
    pub software: bool,
    /// The subgroup size where it is the same for every kernel, else 0.
    pub subgroup: u32,
    /// 16-bit floats are there for operations that allow them.
    pub f16: bool,
    /// Matrix units of f32 (8 × 8 × 8), if they were asked for: wgpu calls them experimental.
    pub cooperative_f32: bool,
    /// Matrix units of f16 with f32 sums (16 × 16 × 16), likewise.
    pub cooperative_f16: bool,
    /// Which variants were asked for.
    pub policy: Policy,
    /// What runs in place of what is shipped, under [`Policy::Auto`].
    pub choices: Choices,
}

impl Caps {
    /// `subgroups`: they are there even if wgpu does not know it.
    pub(super) fn of(adapter: &wgpu::Adapter, policy: Policy, subgroups: bool) -> Caps {
        let mut report = AdapterReport::of(adapter);
        if subgroups {
            let info = adapter.get_info();
            (report.subgroup_min, report.subgroup_max) =
                (info.subgroup_min_size, info.subgroup_max_size);
        }
        let fixed = report.subgroup_min == report.subgroup_max;
        let software = adapter.get_info().device_type == wgpu::DeviceType::Cpu
            || report.name.to_lowercase().contains("swiftshader");
        let [cooperative_f32, cooperative_f16] =
            if policy.wants_cooperative() { cooperative(adapter) } else { [false; 2] };
        Caps {
            software,
            subgroup: if fixed { report.subgroup_min } else { 0 },
            f16: report.f16 && policy != Policy::Baseline,
            cooperative_f32,
            cooperative_f16,
            adapter: report,
            policy,
            choices: Choices::default(),
        }
    }

    pub(super) fn features(&self, adapter: &wgpu::Adapter) -> wgpu::Features {
        let wanted = match self.policy {
            Policy::Baseline => wgpu::Features::empty(),
            _ => wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16,
        };
        let wanted = match self.has_cooperative() {
            true => wanted | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
            false => wanted,
        };
        adapter.features() & (wanted | wgpu::Features::TIMESTAMP_QUERY)
    }

    /// WebGPU's default limits, with the sizes raised to what the adapter has (never under the policy
    /// [`Policy::Baseline`], which promises that the defaults suffice).
    pub(super) fn limits(&self, adapter: &wgpu::Adapter) -> wgpu::Limits {
        let (mut limits, has) = (wgpu::Limits::default(), adapter.limits());
        if self.policy != Policy::Baseline {
            limits.max_buffer_size = has.max_buffer_size;
            limits.max_storage_buffer_binding_size = has.max_storage_buffer_binding_size;
        }
        if self.has_cooperative() {
            limits.max_compute_workgroup_storage_size = has.max_compute_workgroup_storage_size;
        }
        limits
    }

    fn has_cooperative(&self) -> bool {
        self.cooperative_f32 || self.cooperative_f16
    }

    /// A card with memory of its own.
    pub(super) fn is_discrete(&self) -> bool {
        self.adapter.kind == "DiscreteGpu"
    }

    /// Where the variants come from, in a word.
    pub fn origin(&self) -> &'static str {
        match (&self.policy, self.choices.origin) {
            (Policy::Prefer(_) | Policy::Baseline, _) => "forced",
            (Policy::Auto, Origin::Shipped) => "shipped",
            (Policy::Auto, Origin::Tuned) => "tuned",
            (Policy::Auto, Origin::Recorded) => "recorded",
        }
    }

    /// Whether [`tune`](crate::kernels::tune) is worth its time: nobody has chosen, and the program knows no
    /// best for this adapter, as it does for llvmpipe and SwiftShader.
    pub fn is_untuned(&self) -> bool {
        let known = self.subgroup == 8 || self.adapter.name.to_lowercase().contains("swiftshader");
        self.origin() == "shipped" && !(self.software && known)
    }

    /// Whether a product of few rows that makes its input as it reads it takes less time than a dispatch before it.
    /// Not on software adapters without subgroups of 8: there every invocation makes the input's whole row.
    pub(crate) fn gains_by_making_input(&self) -> bool {
        !self.software || self.runs(Needs::Subgroup(8))
    }

    fn runs(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Subgroup(width) => self.policy != Policy::Baseline && self.subgroup == width,
            Needs::F16 => self.f16,
            Needs::CooperativeF32 => self.cooperative_f32,
            Needs::CooperativeF16 => self.cooperative_f16 && self.f16,
        }
    }

    /// The variant of `kernel` that this device runs; `roles` are the modules that the data decide.
    pub fn select(
        &self,
        kernel: &'static Kernel,
        roles: &[(&'static str, &'static str)],
    ) -> Result<Selection> {
        let able = self.able(kernel, roles);
        let shipped = able.iter().rfind(|body| self.suits(body)).or(able.first());
        let wanted = match &self.policy {
            Policy::Prefer(name) => Some(name.as_str()),
            // Only bodies of 32 bits are measured.
            Policy::Auto if shipped.is_none_or(|body| !body.needs.half()) => {
                self.choices.body(kernel, roles)
            }
            Policy::Auto | Policy::Baseline => None,
        };
        let body =
            able.iter().find(|body| Some(body.name) == wanted).or(shipped).copied().ok_or_else(
                || Error::Unsupported {
                    what: format!("kernel {} with {roles:?}", kernel.name),
                    hint: "this is a bug: every kernel has a baseline body".into(),
                },
            )?;
        self.composed(kernel, body, roles)
    }

    /// The variants among which [`tune`](crate::kernels::tune) decides: the one that runs now, then the others
    /// that this device can run and that were written for such data. On software adapters workgroup tiles are
    /// far behind.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn candidates(
        &self,
        kernel: &'static Kernel,
        roles: &[(&'static str, &'static str)],
    ) -> Result<Vec<Selection>> {
        let first = self.select(kernel, roles)?;
        let mut others = self.able(kernel, roles);
        others.retain(|body| !body.only.is_empty() && body.name != first.body.name);
        others.retain(|body| !self.software || self.suits(body));
        let others = others.into_iter().map(|body| self.composed(kernel, body, roles));
        [Ok(first)].into_iter().chain(others).collect()
    }

    fn able(&self, kernel: &'static Kernel, roles: &[(&str, &str)]) -> Vec<&'static Body> {
        let able = |body: &&Body| self.runs(body.needs) && body.accepts(roles);
        kernel.bodies.iter().filter(able).collect()
    }

    fn composed(
        &self,
        kernel: &'static Kernel,
        body: &'static Body,
        roles: &[(&'static str, &'static str)],
    ) -> Result<Selection> {
        let mut modules = Vec::new();
        let mut workgroup = None;
        for role in body.roles() {
            let module = match role {
                "reduce" if self.reduce_in_subgroup() => {
                    workgroup = Some(self.subgroup);
                    "reduce_subgroup"
                }
                "reduce" => "reduce_workgroup",
                "nf4" => "nf4_lanes8",
                "codebook" => "codebook_nf4",
                "indexed" => "indexed_nf4",
                "shared" => "shared_nf4",
                "half" => "half_eights",
                "quads" => "quads_nf4",
                _ => roles
                    .iter()
                    .chain(&FREE)
                    .find(|(r, _)| *r == role)
                    .map(|(_, m)| *m)
                    .ok_or_else(|| {
                        Error::invalid(kernel.name, format!("the operation chose no `{role}`"))
                    })?,
            };
            modules.push(module);
        }
        Ok(Selection { kernel, body, modules, workgroup, form: Form::Whole })
    }

    /// A workgroup of one subgroup reduces without barriers: on software adapters, where these are dear.
    fn reduce_in_subgroup(&self) -> bool {
        let able = self.policy != Policy::Baseline && self.subgroup.is_power_of_two();
        let wanted = match &self.policy {
            Policy::Prefer(name) => Some(name.as_str()),
            _ => None,
        };
        able && (wanted == Some("reduce_subgroup")
            || (self.software && wanted != Some("reduce_workgroup")))
    }

    /// Software adapters do best with register tiles, real ones with workgroup tiles.
    fn suits(&self, body: &Body) -> bool {
        match body.name {
            "baseline" | "f16" => true,
            name if name.starts_with(COOPERATIVE_BODIES) => false,
            name if name.starts_with("workgroup") => {
                !self.software && self.policy != Policy::Baseline
            }
            _ => self.software,
        }
    }
}

impl fmt::Display for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.software { "software" } else { "hardware" };
        write!(f, "{kind}, subgroup {}, policy {:?}", self.subgroup, self.policy)
    }
}
