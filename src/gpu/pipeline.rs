//! Pipelines by variant, bind groups by buffers; each made once.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::op::{Access, Selection};
use super::{Gpu, Target, Tensor, compose};
use crate::Result;

/// A compiled variant.
pub(super) struct Pipeline {
    pub(super) raw: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    id: usize,
}

/// A pipeline, and for each tensor its buffer and its first word.
type GroupKey = (usize, Vec<(u64, usize)>);

#[derive(Default)]
pub(super) struct Cache {
    pipelines: Mutex<HashMap<String, Arc<Pipeline>>>,
    made: AtomicUsize,
    groups: Mutex<HashMap<GroupKey, wgpu::BindGroup>>,
    dead: Mutex<Vec<u64>>,
    pub(super) ring: std::sync::OnceLock<wgpu::Buffer>,
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

    /// A buffer is gone: its bind groups go with the next one that is made.
    pub(super) fn forget(&self, id: u64) {
        lock(&self.dead).push(id);
    }
}

impl Gpu {
    /// The compiled variant, if it has been made.
    pub(super) fn pipeline(&self, selection: &Selection) -> Option<Arc<Pipeline>> {
        lock(&self.inner.pipelines.pipelines).get(&selection.name()).cloned()
    }

    /// How many kernels have been compiled.
    pub fn kernels_made(&self) -> usize {
        self.inner.pipelines.made.load(Ordering::Relaxed)
    }

    /// Compiles the variants that have not been made yet, each once, on all cores where there are threads.
    pub(super) fn make_pipelines<'a>(
        &self,
        selections: impl Iterator<Item = &'a Selection>,
    ) -> Result<()> {
        let missing: BTreeMap<String, &Selection> = selections
            .filter(|selection| self.pipeline(selection).is_none())
            .map(|selection| (selection.name(), selection))
            .collect();
        let make = |(name, selection): (String, &Selection)| -> Result<()> {
            let made = Arc::new(self.compile(selection, &name)?);
            lock(&self.inner.pipelines.pipelines).insert(name, made);
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
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: binding == 0,
                min_binding_size: None,
            },
            count: None,
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
        for (i, (_, access)) in selection.kernel.bindings.iter().enumerate() {
            let read_only = !access.writes();
            entries.push(entry(
                i + 1,
                match access {
                    Access::Table => wgpu::BufferBindingType::Uniform,
                    _ => wgpu::BufferBindingType::Storage { read_only },
                },
            ));
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

    /// The bind group of a pipeline with these tensors and the uniform ring.
    pub(super) fn bind(
        &self,
        pipeline: &Pipeline,
        ring: &wgpu::Buffer,
        slot: u64,
        tensors: &[Tensor],
    ) -> wgpu::BindGroup {
        let cache = &self.inner.pipelines;
        let key =
            (pipeline.id, tensors.iter().map(|t| (t.buffer.id, t.offset)).collect::<Vec<_>>());
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
            entries.push(wgpu::BindGroupEntry {
                binding: i as u32 + 1,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &tensor.buffer.raw,
                    offset: tensor.offset as u64 * 4,
                    size: None,
                }),
            });
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
