//! Pipelines by variant, bind groups by buffers; each made once.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::body::{Access, Body};
use super::form::{Form, storage};
use super::images::{FORMAT, Operand};
use super::op::Op;
use super::select::Selection;
use super::{Gpu, Target, Tensor, compose};
use crate::Result;

/// A variant, and its pipelines by form, each made when it is first needed.
pub(super) struct Variant {
    pub(super) selection: Selection,
    /// Words of an element of each binding; none of a table's, which has no place of its own.
    pub(super) words: Vec<Option<usize>>,
    pipelines: [OnceLock<Pipeline>; 3],
}

impl Variant {
    fn new(selection: Selection) -> Variant {
        let storage = storage(selection.body.source);
        let words = |(name, _): &(&str, Access)| {
            storage.iter().find(|binding| binding.1 == *name).map(|binding| binding.2)
        };
        let words = selection.kernel.bindings.iter().map(words).collect();
        Variant { selection, words, pipelines: Default::default() }
    }

    /// The pipeline, if it has been made.
    pub(super) fn pipeline(&self, form: Form) -> Option<&Pipeline> {
        self.pipelines[form as usize].get()
    }

    pub(super) fn name(&self, form: Form) -> String {
        self.selection.with(form).name()
    }
}

/// A compiled variant.
pub(super) struct Pipeline {
    pub(super) raw: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    id: usize,
}

/// A kernel's name and the modules that the data decide.
type Wanted = (&'static str, Vec<(&'static str, &'static str)>);

/// A pipeline, and for each tensor its buffer and its first word, or its image.
type GroupKey = (usize, Vec<(u64, usize)>);

#[derive(Default)]
pub(super) struct Cache {
    /// What [`Caps::select`](super::Caps::select) has answered.
    selected: Mutex<HashMap<Wanted, Arc<Variant>>>,
    /// By name: several answers may be one variant.
    variants: Mutex<HashMap<String, Arc<Variant>>>,
    made: AtomicUsize,
    groups: Mutex<HashMap<GroupKey, wgpu::BindGroup>>,
    dead: Mutex<Vec<u64>>,
    pub(super) ring: OnceLock<wgpu::Buffer>,
    submitting: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// Held from the write of the uniform ring until the submission that reads it, so that recorders
    /// on several threads do not overwrite each other's parameters.
    pub(super) fn submitting(&self) -> MutexGuard<'_, ()> {
        lock(&self.submitting)
    }

    /// A buffer or an image is gone: its bind groups go with the next one that is made.
    pub(super) fn forget(&self, id: u64) {
        lock(&self.dead).push(id);
    }
}

impl Gpu {
    /// The variant of an operation's kernel that this device runs.
    pub(super) fn variant(&self, op: &dyn Op) -> Result<Arc<Variant>> {
        let (kernel, wanted) = (op.kernel(), (op.kernel().name, op.roles()));
        if let Some(found) = lock(&self.inner.pipelines.selected).get(&wanted) {
            return Ok(found.clone());
        }
        let variant = self.variant_of(self.caps().select(kernel, &wanted.1)?);
        lock(&self.inner.pipelines.selected).insert(wanted, variant.clone());
        Ok(variant)
    }

    /// The body that this device runs for an operation.
    pub(crate) fn body(&self, op: &dyn Op) -> Result<&'static Body> {
        Ok(self.variant(op)?.selection.body)
    }

    /// A variant that this device can run.
    pub(super) fn variant_of(&self, selection: Selection) -> Arc<Variant> {
        let mut variants = lock(&self.inner.pipelines.variants);
        let variant = variants.entry(selection.name());
        variant.or_insert_with(|| Arc::new(Variant::new(selection))).clone()
    }

    /// How many kernels have been compiled.
    pub fn kernels_made(&self) -> usize {
        self.inner.pipelines.made.load(Ordering::Relaxed)
    }

    /// How many bind groups are kept.
    pub fn bind_groups(&self) -> usize {
        lock(&self.inner.pipelines.groups).len()
    }

    /// Compiles the variants that have not been made yet, each once, on all cores where there are threads.
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
        let source = wgpu::ShaderSource::Wgsl(composed.text.as_str().into());
        let desc = wgpu::ShaderModuleDescriptor { label: Some(name), source };
        #[allow(
            unsafe_code,
            reason = "our own kernels guard every index, and tests run them against guard words and \
                      twins; unchecked access is worth a tenth of the time on software adapters"
        )]
        // SAFETY: the composed text is ours; no kernel indexes beyond what its op has checked.
        let module = unsafe {
            device.create_shader_module_trusted(desc, wgpu::ShaderRuntimeChecks::unchecked())
        };
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
        for (i, (name, access)) in selection.kernel.bindings.iter().enumerate() {
            let read_only = !access.writes();
            let ty = match access {
                Access::Table => buffer(wgpu::BufferBindingType::Uniform, false),
                _ if selection.image(name).is_some() => image,
                _ => buffer(wgpu::BufferBindingType::Storage { read_only }, false),
            };
            entries.push(entry(i + 1, ty));
        }
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
            cache: self.pipeline_cache(),
        });
        self.check(&format!("the compilation of {name}"))?;
        tracing::debug!(name, "pipeline");
        let id = self.inner.pipelines.made.fetch_add(1, Ordering::Relaxed);
        Ok(Pipeline { raw, layout, id })
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.inner.pipeline_cache.as_ref().map(|cache| &cache.raw)
    }

    #[cfg(target_arch = "wasm32")]
    fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        None
    }

    /// What a variant reads from images of an operation's tensors.
    pub(super) fn operands(&self, selection: &Selection, tensors: &[&Tensor]) -> Vec<Operand> {
        let mut operands = Vec::new();
        for (binding, tensor) in tensors.iter().enumerate() {
            let (name, _) = selection.kernel.bindings[binding];
            let Some(slot) = selection.image(name) else { continue };
            let (inner, words) = (&self.inner, tensor.len());
            let (image, replaced) = inner.images.image(&inner.device, slot, words);
            if let Some(id) = replaced {
                inner.pipelines.forget(id);
            }
            let place = (tensor.buffer.id, tensor.offset, words);
            operands.push(Operand { binding, buffer: tensor.buffer.raw.clone(), place, image });
        }
        operands
    }

    /// The bind group of a pipeline with these tensors, some of them in images, and the uniform ring.
    pub(super) fn bind(
        &self,
        pipeline: &Pipeline,
        ring: &wgpu::Buffer,
        slot: u64,
        tensors: &[&Tensor],
        operands: &[Operand],
    ) -> wgpu::BindGroup {
        let cache = &self.inner.pipelines;
        let image = |binding: usize| operands.iter().find(|operand| operand.binding == binding);
        let place = |(i, t): (usize, &&Tensor)| match image(i) {
            Some(operand) => (operand.image.id, 0),
            None => (t.buffer.id, t.offset),
        };
        let key = (pipeline.id, tensors.iter().enumerate().map(place).collect::<Vec<_>>());
        let mut groups = lock(&cache.groups);
        if let Some(hit) = groups.get(&key) {
            return hit.clone();
        }
        let dead = std::mem::take(&mut *lock(&cache.dead));
        if !dead.is_empty() {
            groups.retain(|(_, ids), _| !ids.iter().any(|(id, _)| dead.contains(id)));
        }
        let uniform =
            wgpu::BufferBinding { buffer: ring, offset: 0, size: std::num::NonZero::new(slot) };
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(uniform),
        }];
        for (i, tensor) in tensors.iter().enumerate() {
            let resource = match image(i) {
                Some(operand) => wgpu::BindingResource::TextureView(&operand.image.view),
                None => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &tensor.buffer.raw,
                    offset: tensor.offset as u64 * 4,
                    size: None,
                }),
            };
            entries.push(wgpu::BindGroupEntry { binding: i as u32 + 1, resource });
        }
        let group = self.inner.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        groups.insert(key, group.clone());
        group
    }
}
