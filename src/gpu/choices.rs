//! Which body runs where several are close: as shipped, as measured on this adapter, or as a run
//! recorded it.

use std::collections::BTreeMap;

use super::body::Kernel;
use super::context::Context;
use super::policy::{needs_units, renamed};

/// How a device comes by its [`Choices`].
#[derive(Clone, Debug, Default)]
pub enum Tuning {
    /// It runs what is shipped.
    #[default]
    Shipped,
    /// It runs what [`tune`](crate::kernels::tune) has found on this adapter, under this driver and
    /// by this version of the program, and kept in this folder; else what is shipped.
    #[cfg(not(target_arch = "wasm32"))]
    Kept(std::path::PathBuf),
    /// It runs these.
    Given(Choices),
    /// It runs what is shipped, and can run all that [`tune`](crate::kernels::tune) may choose:
    /// matrix units, too, are opened.
    Measuring,
}

/// Where choices come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The program.
    #[default]
    Shipped,
    /// A measurement on this adapter.
    Tuned,
    /// A run that began with them.
    Recorded,
}

/// Bodies that run in place of those that the program would choose, by kernel and what the data
/// decide, in the words of [`Caps::variants`](super::Caps::variants). One that the device cannot
/// run counts for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Where they come from.
    pub origin: Origin,
    /// `linear_fwd weight_nf4_quads aligned` → `tile`.
    pub bodies: BTreeMap<String, String>,
}

impl Choices {
    /// Those of a table of [`Caps::variants`](super::Caps::variants).
    pub fn recorded(variants: &BTreeMap<String, String>) -> Choices {
        let body = |(context, variant): (&String, &String)| {
            let body = variant.split_once('[')?.1.split(['+', ']']).next()?;
            Some((context.clone(), renamed(body).to_owned()))
        };
        Choices { origin: Origin::Recorded, bodies: variants.iter().filter_map(body).collect() }
    }

    /// The body for `kernel` and what the data decide. Where 16 bits are allowed and nothing is
    /// said of that, the one of 32 bits, unless `ships_half`: then a measurement has found no
    /// better.
    pub(super) fn body(
        &self,
        kernel: &Kernel,
        context: &Context,
        ships_half: bool,
    ) -> Option<&str> {
        if self.bodies.is_empty() {
            return None;
        }
        let find = |context: &Context| self.bodies.get(&kernel.in_context(context));
        let without = Context { half: false, ..*context };
        // A run's table leaves out what 16 bits do not change.
        let as_without = !ships_half || self.origin == Origin::Recorded;
        let found = find(context).or_else(|| find(&without).filter(|_| as_without));
        found.map(String::as_str)
    }

    /// Whether any of them may be a body for matrix units.
    pub(super) fn ask_for_units(&self) -> bool {
        self.bodies.values().any(|body| needs_units(body))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod file {
    use super::{Choices, Origin};
    use crate::gpu::{AdapterReport, kept};
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;
    use std::io;
    use std::path::{Path, PathBuf};

    /// What a file holds: choices, and what they belong to.
    #[derive(Deserialize, Serialize)]
    struct File {
        version: String,
        adapter: String,
        backend: String,
        driver: String,
        /// [`AdapterReport::slow_loads`]: the driver may be the same on another processor.
        slow_loads: bool,
        bodies: BTreeMap<String, String>,
    }

    impl File {
        fn new(adapter: &AdapterReport, bodies: BTreeMap<String, String>) -> File {
            File {
                version: env!("CARGO_PKG_VERSION").into(),
                adapter: adapter.name.clone(),
                backend: adapter.backend.clone(),
                driver: adapter.driver.clone(),
                slow_loads: adapter.slow_loads,
                bodies,
            }
        }

        fn owner(&self) -> [&str; 5] {
            let loads = if self.slow_loads { "slow loads" } else { "" };
            [&self.version, &self.adapter, &self.backend, &self.driver, loads]
        }

        fn path(&self, folder: &Path) -> PathBuf {
            folder.join(format!("choices_{}", kept::key(&self.owner())))
        }
    }

    impl Choices {
        /// Those that were kept in `folder` for this adapter, driver and version, if there are any.
        pub(in crate::gpu) fn kept(folder: &Path, adapter: &AdapterReport) -> Option<Choices> {
            let mine = File::new(adapter, BTreeMap::new());
            let file: File = serde_json::from_slice(&kept::read(&mine.path(folder))?).ok()?;
            let bodies = (file.owner() == mine.owner()).then_some(file.bodies)?;
            Some(Choices { origin: Origin::Tuned, bodies })
        }

        /// Keeps them in `folder`, for this adapter, driver and version.
        pub fn keep(&self, folder: &Path, adapter: &AdapterReport) -> io::Result<()> {
            let file = File::new(adapter, self.bodies.clone());
            kept::write(&file.path(folder), &serde_json::to_vec(&file)?)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn adapter(driver: &str) -> AdapterReport {
            AdapterReport {
                name: "A card".into(),
                backend: "Vulkan".into(),
                kind: "DiscreteGpu".into(),
                vendor: 0x1002,
                driver: driver.into(),
                subgroup_min: 32,
                subgroup_max: 32,
                ..AdapterReport::default()
            }
        }

        #[test]
        fn choices_come_back_to_the_adapter_and_driver_that_they_belong_to() {
            let folder = tempfile::tempdir().unwrap();
            let bodies = [("linear_bwd weight_f32 aligned".into(), "tile".into())].into();
            let choices = Choices { origin: Origin::Tuned, bodies };
            let (one, two) = (adapter("1.0"), adapter("2.0"));
            assert_eq!(Choices::kept(folder.path(), &one), None);
            choices.keep(folder.path(), &one).unwrap();
            assert_eq!(Choices::kept(folder.path(), &one), Some(choices.clone()));
            assert_eq!(Choices::kept(folder.path(), &two), None);
            let elsewhere = AdapterReport { slow_loads: true, ..one.clone() };
            assert_eq!(Choices::kept(folder.path(), &elsewhere), None, "another processor");

            // Another driver's file under the name of this one's.
            let path = |of: &AdapterReport| File::new(of, BTreeMap::new()).path(folder.path());
            std::fs::copy(path(&one), path(&two)).unwrap();
            assert_eq!(Choices::kept(folder.path(), &two), None);

            let whole = std::fs::read(path(&one)).unwrap();
            for damaged in [&whole[..whole.len() - 1], &whole[..3], b"", b"{}"] {
                std::fs::write(path(&one), damaged).unwrap();
                assert_eq!(Choices::kept(folder.path(), &one), None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Weight;

    #[test]
    fn a_table_of_variants_is_read_back() {
        let variants = [
            ("linear_fwd weight_f32 aligned", "linear_fwd[tile+rows_f32]"),
            ("add", "add[baseline]"),
            ("adapter", "A card (1.0)"),
            ("policy", "auto"),
        ];
        let variants = variants.map(|(context, name)| (context.into(), name.into())).into();
        let choices = Choices::recorded(&variants);
        assert_eq!(choices.bodies.len(), 2);
        let of =
            |weight| Context { weight: Some(weight), aligned: Some(true), ..Context::default() };
        let kernel = |name| Kernel { name, bindings: &[], bodies: &[], joins: false };
        let (product, add) = (kernel("linear_fwd"), kernel("add"));
        let body = |choices: &Choices, kernel: &Kernel, context: Context, ships_half| {
            choices.body(kernel, &context, ships_half).map(str::to_owned)
        };
        assert_eq!(body(&choices, &product, of(Weight::F32), false).as_deref(), Some("tile"));
        assert_eq!(body(&choices, &product, of(Weight::F16), false), None);
        assert_eq!(body(&choices, &add, Context::default(), false).as_deref(), Some("baseline"));
        // Where 16 bits are allowed and not used, as everywhere: a run's table says nothing of it.
        let half = Context { half: true, ..of(Weight::F32) };
        for ships_half in [false, true] {
            assert_eq!(body(&choices, &product, half, ships_half).as_deref(), Some("tile"));
        }
        let mut tuned = Choices { origin: Origin::Tuned, ..choices };
        assert_eq!(body(&tuned, &product, half, false).as_deref(), Some("tile"));
        assert_eq!(body(&tuned, &product, half, true), None, "the shipped one was the fastest");
        tuned.bodies.insert(product.in_context(&half), "cooperative".into());
        assert_eq!(body(&tuned, &product, half, true).as_deref(), Some("cooperative"));
        assert!(tuned.ask_for_units());
    }
}
