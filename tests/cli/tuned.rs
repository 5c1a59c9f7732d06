//! Kernel variants that were measured on this adapter: where they run, and where not.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use wgpu_lora::gpu::{Choices, Gpu, GpuOptions, Origin};

use crate::program::{Done, Place};

const CONTEXT: &str = "linear_fwd weight_nf4_quads aligned";

/// The folder that the program keeps its files in, with `place` as the user's.
fn kept(place: &Place) -> PathBuf {
    let cache = if cfg!(target_os = "macos") { "Library/Caches" } else { "" };
    place.path(cache).join("wgpu-lora/pipelines")
}

/// As if `tile` had been measured to be the fastest for [`CONTEXT`].
fn measured() -> Place {
    let place = Place::new();
    let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
    let gpu = Gpu::with(GpuOptions { adapter, ..Default::default() });
    let gpu = pollster::block_on(gpu).unwrap();
    let bodies = [(CONTEXT.to_owned(), "tile".to_owned())].into();
    let choices = Choices { origin: Origin::Tuned, bodies };
    choices.keep(&kept(&place), &gpu.caps().adapter).unwrap();
    place
}

fn home(mut command: Command, place: &Place) -> Command {
    ["XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"].iter().for_each(|name| {
        command.env(name, place.path(""));
    });
    command
}

fn info(place: &Place, more: &[&str], variant: &str) -> Value {
    let command = place.command(&[&["info", "--json"], more].concat());
    let output = home(command, place).env("WGPU_LORA_VARIANT", variant).output().unwrap();
    Done::of(output).lines().remove(0)
}

#[test]
fn info_says_what_runs_and_why() {
    let place = measured();
    let is_tile = |info: &Value| info["variants"][CONTEXT].as_str().unwrap().contains("[tile+");
    let tuned = info(&place, &[], "");
    assert_eq!(tuned["variants_from"], "tuned");
    assert_eq!(tuned["choices"][CONTEXT], "tile");
    assert!(is_tile(&tuned), "{tuned}");
    let shipped = info(&place, &["--no-tune"], "");
    assert_eq!(shipped["variants_from"], "shipped");
    assert!(!is_tile(&shipped), "{shipped}");
    let forced = info(&place, &[], "baseline");
    assert_eq!(forced["variants_from"], "forced");
    assert_eq!(forced["choices"], serde_json::json!({}));
}

#[test]
fn a_resumed_run_keeps_what_it_began_with() {
    let place = measured();
    let run = |out: &str, more: &str| {
        let command = place.train(out, &format!("--max-steps 4 --save-steps 2 {more}"));
        let done = Done::of(home(command, &place).output().unwrap());
        assert_eq!(done.code, Some(0), "{}", done.err);
        done.err
    };
    let adapter = |run: &str| place.bytes(&format!("{run}/adapter/adapter_model.safetensors"));
    assert!(run("whole", "").contains("tuned kernel variants"));
    run("broken", "");
    run("shipped", "--no-tune");
    assert!(adapter("whole") != adapter("shipped"), "the choice decides nothing");
    std::fs::remove_dir_all(place.path("broken/checkpoints/step-4")).unwrap();
    std::fs::remove_dir_all(kept(&place)).unwrap();
    assert!(run("broken", "--resume").contains("recorded kernel variants"));
    assert!(adapter("whole") == adapter("broken"));
}

/// llvmpipe with subgroups of 4: the program knows no best for it, as for a GPU. No kernel has two
/// bodies there; that rivals are timed is `--test gpu tune`'s.
#[test]
fn an_unknown_adapter_is_measured_once() {
    let place = Place::new();
    let train = |out: &str, more: &str| {
        let mut command = home(place.train(out, &format!("--max-steps 1 {more}")), &place);
        command.env("LP_NATIVE_VECTOR_WIDTH", "128");
        // The machine may be busy.
        command.env("WGPU_LORA_TUNE_SECONDS", "600");
        let done = Done::of(command.output().unwrap());
        assert_eq!(done.code, Some(0), "{}", done.err);
        done.err
    };
    const MEASURES: &str = "measuring kernel variants";
    let shipped = train("shipped", "--no-tune");
    assert!(
        !shipped.contains(MEASURES) && shipped.contains("shipped kernel variants"),
        "{shipped}"
    );
    let first = train("first", "");
    if first.contains("SwiftShader") {
        return;
    }
    assert!(first.contains(MEASURES) && first.contains("tuned kernel variants"), "{first}");
    let second = train("second", "");
    assert!(!second.contains(MEASURES) && second.contains("tuned kernel variants"), "{second}");
}
