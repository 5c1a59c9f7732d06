//! What a device can do, as far as kernels care, and what it is opened with.

use std::fmt;

use super::adapter::AdapterReport;
use super::body::Needs;
use super::choices::{Choices, Origin};
use super::context::Context;
use super::policy::Policy;
use super::units::Units;

/// A device's abilities, as far as kernels care.
#[derive(Clone, Debug)]
pub struct Caps {
    /// The adapter behind the device.
    pub adapter: AdapterReport,
    /// A software rasterizer: barriers are dear, storage loads are scalar.
    pub software: bool,
    /// 16-bit floats are there for operations that allow them.
    pub f16: bool,
    /// Matrix units, if they were asked for: wgpu calls them experimental.
    pub units: Units,
    /// Which variants were asked for.
    pub policy: Policy,
    /// What runs in place of what is shipped, under [`Policy::Auto`].
    pub choices: Choices,
}

/// WebGPU's default limits, but for those of drawing, which a program that computes never meets:
/// adapters that are below them there are no worse for it.
fn drawing(has: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_vertex_buffers: has.max_vertex_buffers,
        max_vertex_attributes: has.max_vertex_attributes,
        max_vertex_buffer_array_stride: has.max_vertex_buffer_array_stride,
        max_inter_stage_shader_variables: has.max_inter_stage_shader_variables,
        max_color_attachments: has.max_color_attachments,
        max_color_attachment_bytes_per_sample: has.max_color_attachment_bytes_per_sample,
        ..wgpu::Limits::default()
    }
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
        let software = adapter.get_info().device_type == wgpu::DeviceType::Cpu
            || report.name.to_lowercase().contains("swiftshader");
        Caps {
            software,
            f16: report.f16 && policy != Policy::Baseline,
            units: Units::default(),
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
        let wanted = match self.units != Units::default() {
            true => wanted | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
            false => wanted,
        };
        adapter.features() & (wanted | wgpu::Features::TIMESTAMP_QUERY)
    }

    /// WebGPU's default limits, with the sizes raised to what the adapter has (never under the
    /// policy [`Policy::Baseline`], which promises that the defaults suffice).
    pub(super) fn limits(&self, adapter: &wgpu::Adapter) -> wgpu::Limits {
        let has = adapter.limits();
        let mut limits = drawing(&has);
        if self.policy != Policy::Baseline {
            limits.max_buffer_size = has.max_buffer_size;
            limits.max_storage_buffer_binding_size = has.max_storage_buffer_binding_size;
        }
        if self.reads_images() {
            // The largest binding takes one row more than WebGPU promises.
            limits.max_texture_dimension_2d = has.max_texture_dimension_2d;
        }
        limits
    }

    /// The size of a subgroup, where it is the same for every kernel. Many cards choose one for
    /// each.
    pub fn subgroup(&self) -> Option<u32> {
        let (least, most) = (self.adapter.subgroup_min, self.adapter.subgroup_max);
        (least == most && least > 0).then_some(least)
    }

    /// Takes the adapter's matrix units if what is to run may need them, or all that could is to be
    /// `measured`.
    pub(super) fn take_units(&mut self, measured: bool) {
        if measured || self.policy.asks_for_units() || self.choices.ask_for_units() {
            self.units = self.adapter.units();
        }
    }

    /// Whether kernels with such needs may run for such data.
    pub(super) fn can_run(&self, needs: Needs, context: &Context) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Subgroups(least, most) => {
                let has = self.adapter.subgroup_min..=self.adapter.subgroup_max;
                self.policy != Policy::Baseline
                    && *has.start() > 0
                    && least <= *has.start()
                    && *has.end() <= most
            }
            Needs::F16 => self.f16,
            Needs::Units => self.units.module(context.half).is_some(),
        }
    }

    /// Whether bodies read from images what their rows say: where loads from storage buffers are
    /// slow.
    pub fn reads_images(&self) -> bool {
        match self.policy.preferred() {
            Some("images") => true,
            Some("buffers") => false,
            _ => self.adapter.slow_loads && self.policy != Policy::Baseline,
        }
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

    /// Whether [`tune`](crate::kernels::tune) is worth its time: nobody has chosen, and the program
    /// knows no best for this adapter, as it does for llvmpipe and SwiftShader.
    pub fn is_untuned(&self) -> bool {
        let known =
            self.subgroup() == Some(8) || self.adapter.name.to_lowercase().contains("swiftshader");
        self.origin() == "shipped" && !(self.software && known)
    }

    /// Whether a product of few rows that makes its input as it reads it takes less time than a
    /// dispatch before it. Not on software adapters without subgroups of 8: there every invocation
    /// makes the input's whole row.
    pub(crate) fn gains_by_making_input(&self) -> bool {
        !self.software || self.can_run(Needs::Subgroups(8, 8), &Context::default())
    }
}

impl fmt::Display for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.software { "software" } else { "hardware" };
        let (least, most) = (self.adapter.subgroup_min, self.adapter.subgroup_max);
        write!(f, "{kind}, subgroups of {least} to {most}, policy {:?}", self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::drawing;

    #[test]
    fn a_limit_of_drawing_refuses_no_device() {
        // Adreno 702.
        let below = wgpu::Limits { max_inter_stage_shader_variables: 15, ..Default::default() };
        assert!(!wgpu::Limits::default().check_limits(&below));
        assert!(drawing(&below).check_limits(&below));
        // One of computing does.
        let below = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..Default::default() };
        assert!(!drawing(&below).check_limits(&below));
    }
}
