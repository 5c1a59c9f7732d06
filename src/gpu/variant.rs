//! The variants that a device keeps, and their pipelines.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};

use super::context::Context;
use super::form::storage;
use super::lock::lock;
use super::{Access, Caps, Form, Kernel, Selection};
use crate::Result;

/// A variant, and its pipelines by form, each made when it is first needed.
pub(super) struct Variant {
    pub(super) selection: Selection,
    /// Words of an element of each binding; none of a table's, which has no place of its own.
    pub(super) words: Vec<Option<usize>>,
    pub(super) pipelines: [OnceLock<Pipeline>; 3],
}

impl Variant {
    fn new(selection: Selection) -> Variant {
        let storage = storage(selection.body.source.text());
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
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) id: usize,
}

/// A kernel's name and what the data decide.
type Wanted = (&'static str, Context);

/// All of a device.
#[derive(Default)]
pub(super) struct Variants {
    /// What [`Caps::select`] has answered.
    selected: Mutex<HashMap<Wanted, Arc<Variant>>>,
    /// By name: several answers may be one variant.
    named: Mutex<HashMap<String, Arc<Variant>>>,
    /// Pipelines.
    pub(super) made: AtomicUsize,
}

impl Variants {
    /// The variant of a kernel that a device runs.
    pub(super) fn selected(
        &self,
        caps: &Caps,
        kernel: &'static Kernel,
        context: Context,
    ) -> Result<Arc<Variant>> {
        let wanted = (kernel.name, context);
        if let Some(found) = lock(&self.selected).get(&wanted) {
            return Ok(found.clone());
        }
        let variant = self.variant(caps.select(kernel, &context)?);
        lock(&self.selected).insert(wanted, variant.clone());
        Ok(variant)
    }

    /// A variant that a device can run.
    pub(super) fn variant(&self, selection: Selection) -> Arc<Variant> {
        let mut named = lock(&self.named);
        let variant = named.entry(selection.name());
        variant.or_insert_with(|| Arc::new(Variant::new(selection))).clone()
    }
}
