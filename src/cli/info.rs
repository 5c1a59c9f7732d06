//! `info`: the first thing a bug report pastes.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::Inspect;
use super::session::Session;
use crate::gpu::{AdapterReport, Caps, Gpu, adapters};
use crate::kernels;

const SLOW: &str = "software driver: slow. It computes on the processor; with a GPU and its driver everything here is \
                    many times faster";

pub(super) async fn run(session: &Session) -> Result<()> {
    let found = adapters().await;
    // Fails with the hint if there is none, or none of that name.
    let gpu = session.gpu(Inspect::default(), None).await?;
    let (caps, printer) = (gpu.caps(), &session.printer);
    let variants = caps.variants(kernels::ALL);
    let measured = measured(caps);
    let version = env!("CARGO_PKG_VERSION");
    printer.object(&facts(&found, &gpu))?;
    printer.line(format!("wgpu-lora {version}"))?;
    printer.line("\nadapters, best first")?;
    for (number, adapter) in found.iter().enumerate() {
        printer.line(describe(number, adapter))?;
        for note in adapter.notes() {
            printer.line(format!("    note: {note}"))?;
        }
    }
    let memory = match gpu.memory_bytes() {
        Some(bytes) => format!("{} MiB of memory", bytes >> 20),
        None => "memory unknown".into(),
    };
    printer.line(format!("\ndevice: {} ({caps}), {memory}", caps.adapter.name))?;
    if caps.software {
        printer.line(SLOW)?;
    }
    let count = variants.len();
    if !printer.is_verbose() {
        let from = caps.origin();
        return printer.line(format!("kernel variants: {count}, {from}; -v lists them"));
    }
    printer.line(format!("\nkernel variants ({})", caps.origin()))?;
    for (context, body) in &measured {
        printer.line(format!("  measured: {context}: {body}"))?;
    }
    for (key, variant) in &variants {
        printer.line(format!("  {key:<40} {variant}"))?;
    }
    Ok(())
}

/// All of it for programs.
pub(super) fn facts(found: &[AdapterReport], gpu: &Gpu) -> Value {
    let caps = gpu.caps();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "adapters": found,
        "device": caps.adapter,
        "device_bytes": gpu.memory_bytes(),
        "software": caps.software,
        "policy": caps.policy.name(),
        "variants": caps.variants(kernels::ALL),
        "variants_from": caps.origin(),
        "choices": measured(caps),
    })
}

/// Bodies that run because they were measured.
fn measured(caps: &Caps) -> BTreeMap<String, String> {
    if caps.origin() == "tuned" { caps.choices.bodies.clone() } else { BTreeMap::new() }
}

fn describe(number: usize, a: &AdapterReport) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let feature = |name: &str, has: bool| format!("{name} {}", if has { "yes" } else { "no" });
    let units: Vec<String> = a.matrix_units.iter().map(|unit| format!("({unit})")).collect();
    let units = if units.is_empty() { "no".into() } else { units.join(", ") };
    format!(
        "  {number}: {} ({}, {}; {})\n    limits: binding {} MiB, buffer {} MiB, workgroup {} invocations and {} KiB, {} storage buffers\n    \
         features: subgroups {}-{}, {}, {}, matrix units {units}",
        a.name,
        a.backend,
        a.kind,
        a.driver,
        mib(a.max_binding_bytes),
        mib(a.max_buffer_bytes),
        a.max_workgroup_size,
        a.max_workgroup_bytes >> 10,
        a.max_storage_buffers,
        a.subgroup_min,
        a.subgroup_max,
        feature("f16", a.f16),
        feature("timestamps", a.timestamps)
    )
}
