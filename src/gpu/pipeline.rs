//! Pipelines and bind groups, each made when it is first needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::compose::compose;
use super::dispatch::{PARAMS_BYTES, SLOT};
use super::images::{FORMAT, Image, MOST, Operand};
use super::select::FromImage;
use super::variant::{Pipeline, Variant};
use super::{Access, Body, Form, Gpu, Op, Selection, Target, Tensor};
use crate::{Error, Result};

/// The driver's checks of a shader: none, since ours guard every index; all, where they come from
/// a folder and may have been edited.
fn runtime_checks() -> wgpu::ShaderRuntimeChecks {
    #[cfg(feature = "hot-shaders")]
    if super::hot::in_use() {
        return wgpu::ShaderRuntimeChecks::checked();
    }
    wgpu::ShaderRuntimeChecks::unchecked()
}

impl Gpu {
    /// The variant of an operation's kernel that this device runs.
    pub(super) fn variant(&self, op: &dyn Op) -> Result<Arc<Variant>> {
        let variants = &self.inner.variants;
        let variant = variants.selected(self.caps(), op.kernel(), op.context())?;
        let selection = &variant.selection;
        if self.have_room(selection, |tensor| op.tensors().get(tensor).map_or(0, |t| t.len())) {
            return Ok(variant);
        }
        Ok(variants.variant(Selection { images: false, ..selection.clone() }))
    }

    /// Whether what a variant reads from images, tensors of so many words, fits into them.
    pub(super) fn have_room(&self, selection: &Selection, words: impl Fn(usize) -> usize) -> bool {
        let fits = |image: &FromImage| self.inner.images.have_room(words(image.tensor));
        selection.images().iter().all(fits)
    }

    /// The body that this device runs for an operation.
    pub(crate) fn body(&self, op: &dyn Op) -> Result<&'static Body> {
        Ok(self.variant(op)?.selection.body)
    }

    /// How many kernels have been compiled.
    pub fn kernels_made(&self) -> usize {
        self.inner.variants.made.load(Ordering::Relaxed)
    }

    /// How many bind groups are kept.
    pub fn bind_groups(&self) -> usize {
        self.inner.groups.len()
    }

    /// Compiles the variants that have not been made yet, each once, on all cores where there are
    /// threads.
    pub(super) fn make_pipelines<'a>(
        &self,
        variants: impl Iterator<Item = (&'a Variant, Form)>,
    ) -> Result<()> {
        let missing: BTreeMap<String, (&Variant, Form)> = variants
            .filter(|(variant, form)| variant.pipeline(*form).is_none())
            .map(|(variant, form)| (variant.name(form), (variant, form)))
            .collect();
        let make = |(name, (variant, form)): (String, (&Variant, Form))| -> Result<()> {
            let made = self.compile(&variant.selection.with(form), &name)?;
            // Another recorder's may have come first.
            let _ = variant.pipelines[form as usize].set(made);
            Ok(())
        };
        #[cfg(not(target_arch = "wasm32"))]
        {
            use rayon::prelude::*;
            missing.into_par_iter().try_for_each(make)
        }
        #[cfg(target_arch = "wasm32")]
        missing.into_iter().try_for_each(make)
    }

    fn compile(&self, selection: &Selection, name: &str) -> Result<Pipeline> {
        let device = &self.inner.device;
        let composed = compose(selection, Target::here());
        #[cfg(feature = "hot-shaders")]
        composed.files().try_for_each(super::hot::check)?;
        let source = wgpu::ShaderSource::Wgsl(composed.text.as_str().into());
        let desc = wgpu::ShaderModuleDescriptor { label: Some(name), source };
        #[allow(
            unsafe_code,
            reason = "our own kernels guard every index, and tests run them against guard words and \
                      twins; unchecked access is worth a tenth of the time on software adapters"
        )]
        // SAFETY: the composed text is ours; no kernel indexes beyond what its op has checked. What
        // nobody has tested yet keeps the driver's checks.
        let module = unsafe { device.create_shader_module_trusted(desc, runtime_checks()) };
        let entry = |binding: usize, ty| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        };
        let buffer = |ty, has_dynamic_offset| wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset,
            min_binding_size: None,
        };
        let image = wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::ReadOnly,
            format: FORMAT,
            view_dimension: wgpu::TextureViewDimension::D2,
        };
        let mut entries = vec![entry(0, buffer(wgpu::BufferBindingType::Uniform, true))];
        let images = selection.images();
        for (i, (_, access)) in selection.kernel.bindings.iter().enumerate() {
            let read_only = !access.writes();
            let ty = match access {
                _ if images.iter().any(|image| image.binding == i + 1) => continue,
                Access::Table => buffer(wgpu::BufferBindingType::Uniform, false),
                _ => buffer(wgpu::BufferBindingType::Storage { read_only }, false),
            };
            entries.push(entry(i + 1, ty));
        }
        entries.extend(images.iter().map(|of| entry(of.binding, image)));
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(name),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants: Vec<(&str, f64)> =
            selection.workgroup.map(|wg| ("WG", f64::from(wg))).into_iter().collect();
        let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(selection.kernel.name),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: false,
            },
            #[cfg(not(target_arch = "wasm32"))]
            cache: self.inner.pipeline_cache.as_ref().map(|cache| &cache.raw),
            #[cfg(target_arch = "wasm32")]
            cache: None,
        });
        self.check(&format!("the compilation of {name}")).map_err(|error| match error {
            Error::Device { during, why } => Error::Device { during, why: composed.located(&why) },
            error => error,
        })?;
        tracing::debug!(name, "pipeline");
        let id = self.inner.variants.made.fetch_add(1, Ordering::Relaxed);
        Ok(Pipeline { raw, layout, id })
    }

    /// Gives the images of operands room for so many words each, so that none has to grow, and
    /// nothing be bound anew, when the largest batch comes.
    pub(crate) fn reserve_images(&self, words: [usize; MOST]) {
        if self.caps().reads_images() {
            let fits = |words: &(usize, usize)| self.inner.images.have_room(words.1);
            let words = words.into_iter().enumerate().filter(fits);
            words.for_each(|(slot, words)| drop(self.image(slot, words)));
        }
    }

    /// An image with room for `words`.
    fn image(&self, slot: usize, words: usize) -> Arc<Image> {
        let (image, replaced) = self.inner.images.image(&self.inner.device, slot, words);
        if let Some(id) = replaced {
            self.inner.groups.forget(id);
        }
        image
    }

    /// What a variant reads from images of an operation's tensors.
    pub(super) fn operands(&self, selection: &Selection, tensors: &[&Tensor]) -> Vec<Operand> {
        let mut operands = Vec::new();
        for (slot, FromImage { tensor, binding, .. }) in selection.images().into_iter().enumerate()
        {
            let tensor = tensors[tensor];
            let words = tensor.len();
            let place = (tensor.buffer.id, tensor.offset, words);
            // What fills the binding of an operand that is not used is another operand.
            let same = operands.iter().find(|o: &&Operand| o.place == place);
            let image = same.map(|operand| operand.image.clone());
            let image = image.unwrap_or_else(|| self.image(slot, words));
            operands.push(Operand { binding, buffer: tensor.buffer.raw.clone(), place, image });
        }
        operands
    }

    /// The uniform ring: the parameters of a submission's dispatches.
    pub(super) fn ring(&self) -> &wgpu::Buffer {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let make = || self.inner.buffer("params", PARAMS_BYTES, usage);
        self.inner.ring.buffer.get_or_init(make)
    }

    /// The bind group of a pipeline with these tensors, some of them in images, and the uniform
    /// ring.
    pub(super) fn bind(
        &self,
        pipeline: &Pipeline,
        tensors: &[&Tensor],
        operands: &[Operand],
    ) -> wgpu::BindGroup {
        let is_image = |i: usize| operands.iter().any(|operand| operand.binding == i + 1);
        let buffers = || tensors.iter().enumerate().filter(|(i, _)| !is_image(*i));
        let places = buffers().map(|(_, t)| (t.buffer.id, t.offset));
        let images = operands.iter().map(|operand| (operand.image.id, 0));
        let key = (pipeline.id, places.chain(images).collect::<Vec<_>>());
        let make = || {
            let (buffer, size) = (self.ring(), std::num::NonZero::new(SLOT as u64));
            let uniform = wgpu::BufferBinding { buffer, offset: 0, size };
            let mut entries = vec![wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(uniform),
            }];
            let mut bind = |binding: usize, resource| {
                entries.push(wgpu::BindGroupEntry { binding: binding as u32, resource });
            };
            for (i, tensor) in buffers() {
                let (buffer, offset) = (&tensor.buffer.raw, tensor.offset as u64 * 4);
                let buffer = wgpu::BufferBinding { buffer, offset, size: None };
                bind(i + 1, wgpu::BindingResource::Buffer(buffer));
            }
            for operand in operands {
                let view = &operand.image.view;
                bind(operand.binding, wgpu::BindingResource::TextureView(view));
            }
            self.inner.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.layout,
                entries: &entries,
            })
        };
        self.inner.groups.get(key, make)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Context, GpuOptions, Kernel, Needs, On, Source, Takes, Tile};

    static KERNEL: Kernel = Kernel {
        name: "it",
        bindings: &[],
        bodies: &[Body {
            name: "baseline",
            source: Source::new(
                "room/it.wgsl",
                "// it: y\n// roles: reduce\nfn it() { let a = b; }\n",
            ),
            needs: Needs::Nothing,
            on: On::Any,
            narrowed: |_| true,
            takes: Takes::ANY,
            images: &[],
            fours: false,
            tile: Tile::Only,
            tuned: false,
        }],
        joins: false,
    };

    #[test]
    fn what_a_compiler_refuses_is_told_by_file_and_line() {
        let options = GpuOptions { validate_only: true, ..GpuOptions::default() };
        let gpu = pollster::block_on(Gpu::with(options)).unwrap();
        let selection = gpu.caps().select(&KERNEL, &Context::default()).unwrap();
        let refused = gpu.compile(&selection, &selection.name()).map(|made| made.id);
        let why = refused.unwrap_err().to_string();
        assert!(why.contains("shaders/room/it.wgsl:3:"), "{why}");
    }
}
