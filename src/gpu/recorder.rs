//! Records operations and submits them in slices.

use super::dispatch::{Dispatch, SLOT, SLOTS};
use super::form::part_bytes;
use super::images::{Held, Operand};
use super::slice::{Pace, Part, SLICE, parts};
use super::variant::Variant;
use super::verify::{disagreement, on_host};
use super::{Access, Form, Gpu, Op, Profile, Tensor, Work};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// On a software adapter operations that take longer, in nanoseconds on a slow GPU, have dispatches
/// of their own.
const WORTH_JOINING: u64 = 200_000;

#[cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "work is for profiles, which only native builds take")
)]
struct Recorded {
    variant: Arc<Variant>,
    form: Form,
    /// Set when it is submitted at the latest.
    group: Option<wgpu::BindGroup>,
    /// What it reads from images.
    operands: Arc<[Operand]>,
    /// Buffers that it writes to.
    written: Arc<[u64]>,
    part: Part,
    work: Work,
}

/// A dispatch whose pipeline has not been made: all that a submission lacks are made at once.
struct Waiting {
    at: usize,
    tensors: Vec<Tensor>,
}

/// Records operations in order; each sees the results of those before it.
pub struct Recorder {
    gpu: Gpu,
    label: &'static str,
    recorded: Vec<Recorded>,
    waiting: Vec<Waiting>,
    params: Vec<u8>,
    pace: Pace,
    /// Whole grids never run in the body for parts.
    apart: bool,
    /// A submission takes at most so many nanoseconds on a slow GPU.
    slice: u64,
    /// What was recorded takes so many nanoseconds on a slow GPU.
    time: u64,
}

impl Gpu {
    /// Starts recording operations; `label` names them in errors.
    pub fn recorder(&self, label: &'static str) -> Recorder {
        let (gpu, recorded, waiting, params) = (self.clone(), Vec::new(), Vec::new(), Vec::new());
        let (pace, apart, slice, time) = (Pace::of(gpu.caps().is_discrete()), false, SLICE, 0);
        Recorder { gpu, label, recorded, waiting, params, pace, apart, slice, time }
    }

    /// Measures every dispatch from here on, and drops what was measured before. Adapters without
    /// timestamps measure nothing.
    pub fn start_profile(&self) {
        if let Ok(mut slot) = self.inner.profile.lock() {
            *slot = self.inner.caps.adapter.timestamps.then(Profile::default);
        }
    }

    /// Stops measuring: what was measured since [`Gpu::start_profile`], if anything could be.
    pub fn take_profile(&self) -> Option<Profile> {
        self.inner.profile.lock().ok()?.take()
    }

    /// What the longest submission until now takes on a slow GPU, as it was reckoned.
    pub fn longest_submission(&self) -> Duration {
        Duration::from_nanos(self.inner.longest.load(Ordering::Relaxed))
    }

    fn profiling(&self) -> bool {
        self.inner.profile.lock().is_ok_and(|p| p.is_some())
    }
}

impl Recorder {
    /// With submissions that take at most so long on a slow GPU, instead of 100 ms. Results are the
    /// same, bit for bit.
    pub fn with_slice(mut self, slice: Duration) -> Recorder {
        self.slice = slice.as_nanos() as u64;
        self
    }

    /// With whole grids in the body that was written for them, even where the one for parts has
    /// been made and would serve: for tests of the former.
    pub fn with_whole_bodies(mut self) -> Recorder {
        self.apart = true;
        self
    }

    /// The device that this recorder submits to.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Adds an operation. **Errors** [`Error::Shape`] from its shape checks; [`Error::Device`] if
    /// it had to submit those before it and the driver rejects one of their kernels.
    pub fn record(&mut self, op: &dyn Op) -> Result<()> {
        self.record_as(op, &self.gpu.variant(op)?)
    }

    /// The same in a variant that the device can run but need not choose.
    pub(super) fn record_as(&mut self, op: &dyn Op, variant: &Arc<Variant>) -> Result<()> {
        let grid = op.dispatch(&variant.selection)?;
        if grid.contains(&0) {
            return Ok(());
        }
        self.run(&[op], variant, Form::Whole, &Dispatch::one(op, grid))
    }

    /// Adds operations that neither read nor write what another of them writes: in one dispatch
    /// where they are of one variant, of a kernel that [joins](super::Kernel::joins), and their
    /// tensors lie in the same buffers, and where that is worth a variant of its own; if not, the
    /// first alone and the others so. **Errors** as [`record`](Recorder::record).
    pub fn record_together(&mut self, ops: &[&dyn Op]) -> Result<()> {
        let Some((first, others)) = ops.split_first() else { return Ok(()) };
        if let Some((variant, joined)) = self.joined(ops)? {
            return self.run(ops, &variant, Form::Together, &joined);
        }
        self.record(*first)?;
        self.record_together(others)
    }

    fn joined<'a>(&self, ops: &[&'a dyn Op]) -> Result<Option<(Arc<Variant>, Dispatch<'a>)>> {
        let joins = |op: &&dyn Op| op.kernel().joins;
        let Some((first, others)) = ops.split_first().filter(|(first, _)| joins(first)) else {
            return Ok(None);
        };
        // On a software adapter a dispatch costs 50 µs, and a variant a part of a second of
        // compilation.
        let long = |op: &&dyn Op| self.pace.time(op.work()) > WORTH_JOINING;
        if self.gpu.caps().software && ops.iter().any(long) {
            return Ok(None);
        }
        let variant = self.gpu.variant(*first)?;
        for op in others {
            if !Arc::ptr_eq(&self.gpu.variant(*op)?, &variant) {
                return Ok(None);
            }
        }
        let joined = Dispatch::together(ops, &variant)?.filter(|joined| {
            self.gpu.have_room(&variant.selection, |tensor| joined.tensors[tensor].len())
        });
        Ok(joined.map(|joined| (variant, joined)))
    }

    /// Adds a dispatch of these operations; in verify mode also runs it, and compares what it wrote
    /// with their twins'.
    fn run(
        &mut self,
        ops: &[&dyn Op],
        variant: &Arc<Variant>,
        form: Form,
        dispatch: &Dispatch,
    ) -> Result<()> {
        if let Some(listed) = &self.gpu.listed {
            listed.lock().map(|mut names| names.insert(variant.name(Form::Whole))).ok();
            return Ok(());
        }
        if !self.gpu.inner.verify {
            return self.push(variant, form, dispatch);
        }
        let inputs = on_host(&self.gpu, ops)?;
        self.push(variant, form, dispatch)?;
        self.submit()?;
        let Some(why) = disagreement(&self.gpu, ops, inputs)? else { return Ok(()) };
        Err(Error::Device {
            during: format!("verification in {}", self.label),
            why: format!("{} disagrees with its CPU twin in {why}", variant.name(form)),
        })
    }

    fn push(&mut self, variant: &Arc<Variant>, form: Form, dispatch: &Dispatch) -> Result<()> {
        let Dispatch { tensors, params, grid, work, skew } = dispatch;
        let tensors: &[&Tensor] = &tensors.iter().map(|tensor| &**tensor).collect::<Vec<_>>();
        let kernel = variant.selection.kernel;
        if tensors.len() != kernel.bindings.len() {
            let why = format!("{} tensors for {} bindings", tensors.len(), kernel.bindings.len());
            return Err(Error::invalid(kernel.name, why));
        }
        if let Some(twice) = written_twice(kernel.bindings, tensors) {
            let why = format!("tensor `{twice}` is written and bound a second time");
            return Err(Error::invalid(kernel.name, why));
        }
        let operands: Arc<[Operand]> = self.gpu.operands(&variant.selection, tensors).into();
        let written =
            kernel.bindings.iter().zip(tensors).filter(|((_, access), _)| access.writes());
        let written: Arc<[u64]> = written.map(|(_, tensor)| tensor.buffer.id).collect();
        let parts = parts(*grid, self.pace.time(*work) * skew, self.slice);
        let count = parts.len() as u64;
        let work = Work { flops: work.flops / count, bytes: work.bytes / count };
        // The body for parts serves a whole grid, too: where it has been made, no second one is.
        let serves = || !self.apart && variant.pipeline(Form::InPart).is_some();
        let in_part = form == Form::Whole && (count > 1 || serves());
        let form = if in_part { Form::InPart } else { form };
        for part in parts {
            if self.recorded.len() == SLOTS || self.time + part.time > self.slice {
                self.submit()?;
            }
            let bind = |pipeline| self.gpu.bind(pipeline, tensors, &operands);
            let group = variant.pipeline(form).map(bind);
            if group.is_none() {
                let tensors = tensors.iter().copied().cloned().collect();
                self.waiting.push(Waiting { at: self.recorded.len(), tensors });
            }
            if form != Form::Whole {
                self.params.extend_from_slice(&part_bytes(part.first, *grid));
            }
            self.params.extend_from_slice(params);
            self.params.resize((self.recorded.len() + 1) * SLOT, 0);
            self.time += part.time;
            let (variant, operands, written) = (variant.clone(), operands.clone(), written.clone());
            let recorded = Recorded { variant, form, group, operands, written, part, work };
            self.recorded.push(recorded);
        }
        Ok(())
    }

    /// Makes the pipelines that the recorded operations lack.
    fn make_ready(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let lacking = waiting.iter().map(|waiting| &self.recorded[waiting.at]);
        self.gpu.make_pipelines(lacking.map(|r| (&*r.variant, r.form)))?;
        for Waiting { at, tensors } in waiting {
            let (r, tensors) = (&self.recorded[at], tensors.iter().collect::<Vec<_>>());
            let bind = |pipeline| self.gpu.bind(pipeline, &tensors, &r.operands);
            self.recorded[at].group = r.variant.pipeline(r.form).map(bind);
        }
        Ok(())
    }

    /// Submits what was recorded; returns before it has run. **Errors** [`Error::Device`].
    pub fn submit(&mut self) -> Result<()> {
        if self.recorded.is_empty() {
            return Ok(());
        }
        self.make_ready()?;
        self.gpu.inner.longest.fetch_max(self.time, Ordering::Relaxed);
        if self.gpu.profiling() {
            return self.submit_profiled();
        }
        let inner = &self.gpu.inner;
        let turn = inner.ring.turn();
        inner.queue.write_buffer(self.gpu.ring(), 0, &self.params);
        let mut encoder = inner.device.create_command_encoder(&Default::default());
        let (mut held, mut open) = (Held::default(), None);
        for (i, r) in self.recorded.iter().enumerate() {
            let lacking = held.lacking(&r.operands);
            if !lacking.is_empty() {
                // Copies stand between passes.
                drop(open.take());
                lacking.into_iter().for_each(|operand| held.copy(operand, &mut encoder));
            }
            let pass = open.get_or_insert_with(|| {
                encoder.begin_compute_pass(&Default::default()).forget_lifetime()
            });
            dispatch_one(pass, i, r)?;
            held.written(&r.written);
        }
        drop(open);
        inner.queue.submit([encoder.finish()]);
        drop(turn);
        self.clear();
        self.gpu.check(self.label)
    }

    /// Submits, then waits for the device: for timing and for tests.
    pub async fn finish(mut self) -> Result<()> {
        self.submit()?;
        self.gpu.settle(self.label).await
    }

    fn clear(&mut self) {
        self.recorded.clear();
        self.params.clear();
        self.time = 0;
    }

    #[cfg(target_arch = "wasm32")]
    fn submit_profiled(&mut self) -> Result<()> {
        Err(Error::Unsupported { what: "profiling".into(), hint: "use the native program".into() })
    }

    /// One pass per dispatch, a timestamp before and after each.
    #[cfg(not(target_arch = "wasm32"))]
    fn submit_profiled(&mut self) -> Result<()> {
        let inner = self.gpu.inner.clone();
        let turn = inner.ring.turn();
        inner.queue.write_buffer(self.gpu.ring(), 0, &self.params);
        let count = self.recorded.len() as u32 * 2;
        let queries = inner.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let mut encoder = inner.device.create_command_encoder(&Default::default());
        let mut held = Held::default();
        for (i, r) in self.recorded.iter().enumerate() {
            let first = 2 * i as u32;
            let timed = |begin, end| wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: begin,
                    end_of_pass_write_index: end,
                }),
            };
            let lacking = held.lacking(&r.operands);
            let mut begin = Some(first);
            if !lacking.is_empty() {
                drop(encoder.begin_compute_pass(&timed(begin.take(), None)));
                lacking.into_iter().for_each(|operand| held.copy(operand, &mut encoder));
            }
            dispatch_one(&mut encoder.begin_compute_pass(&timed(begin, Some(first + 1))), i, r)?;
            held.written(&r.written);
        }
        let bytes = u64::from(count) * 8;
        let (resolve, from) = (wgpu::BufferUsages::QUERY_RESOLVE, wgpu::BufferUsages::COPY_SRC);
        let ticks = inner.buffer("timestamps", bytes, resolve | from);
        let (map, to) = (wgpu::BufferUsages::MAP_READ, wgpu::BufferUsages::COPY_DST);
        let staging = inner.buffer("timestamps", bytes, map | to);
        encoder.resolve_query_set(&queries, 0..count, &ticks, 0);
        encoder.copy_buffer_to_buffer(&ticks, 0, &staging, 0, bytes);
        inner.queue.submit([encoder.finish()]);
        drop(turn);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        self.gpu.wait("profiling")?;
        let period = f64::from(inner.queue.get_timestamp_period());
        let mapped = staging
            .get_mapped_range(..)
            .map_err(|e| Error::Device { during: "profiling".into(), why: e.to_string() })?;
        let ticks: Vec<u64> = mapped
            .chunks_exact(8)
            .map(|b| u64::from_ne_bytes(b.try_into().unwrap_or_default()))
            .collect();
        if let Some(profile) = inner.profile.lock().ok().as_deref_mut().and_then(Option::as_mut) {
            for (i, r) in self.recorded.iter().enumerate() {
                let row = profile.rows.entry(r.variant.name(r.form)).or_default();
                row.calls += 1;
                row.ns += ticks[2 * i + 1].saturating_sub(ticks[2 * i]) as f64 * period;
                row.flops += r.work.flops;
                row.bytes += r.work.bytes;
            }
            let all = ticks.last().zip(ticks.first()).map_or(0, |(l, f)| l.saturating_sub(*f));
            let longest = profile.longest_submission_ns.max(all as f64 * period);
            profile.longest_submission_ns = longest;
        }
        self.clear();
        self.gpu.check(self.label)
    }
}

/// **Errors** [`Error::Device`] where the pipeline or the bind group was never made: a result
/// without this operation would be of another computation.
fn dispatch_one(pass: &mut wgpu::ComputePass<'_>, index: usize, r: &Recorded) -> Result<()> {
    let Some((pipeline, group)) = r.variant.pipeline(r.form).zip(r.group.as_ref()) else {
        let why = "its pipeline was not made before it was submitted; this is a bug".into();
        return Err(Error::Device { during: r.variant.name(r.form), why });
    };
    pass.set_pipeline(&pipeline.raw);
    pass.set_bind_group(0, group, &[(index * SLOT) as u32]);
    let [x, y, z] = r.part.count;
    pass.dispatch_workgroups(x, y, z);
    Ok(())
}

/// A tensor that is written must not be bound twice: WebGPU forbids it.
fn written_twice(bindings: &[(&str, Access)], tensors: &[&Tensor]) -> Option<String> {
    tensors.iter().enumerate().find_map(|(i, t)| {
        let again = tensors.iter().enumerate().any(|(j, u)| i != j && u.buffer.id == t.buffer.id);
        (again && bindings[i].1.writes()).then(|| t.name().to_owned())
    })
}
