//! A device that is lost in the middle of a run.

use crate::setup::*;
use wgpu_lora::Error;
use wgpu_lora::data::{Dataset, DatasetOptions, Encode};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::Quant;
use wgpu_lora::train::config::{SaveSteps, TrainConfig};
use wgpu_lora::train::event::Event;
use wgpu_lora::train::run::{Run, Start};

struct Letters;
impl Encode for Letters {
    fn encode(&self, text: &str) -> wgpu_lora::Result<Vec<u32>> {
        Ok(text.bytes().map(|b| 3 + u32::from(b)).collect())
    }
    fn eos(&self) -> Option<u32> {
        Some(2)
    }
}

fn run(gpu: &Gpu, out: &std::path::Path, start: Start) -> Run {
    let text: String = (0..9).map(|i| format!("{{\"text\": \"row {}\"}}\n", i * i)).collect();
    let options = DatasetOptions::default();
    let rows = Dataset::from_text("rows.jsonl", text.as_bytes(), &Letters, &options).unwrap();
    let config = TrainConfig {
        max_steps: Some(6),
        save_steps: SaveSteps::Steps(2),
        batch_size: 2,
        gradient_accumulation_steps: 1,
        ..TrainConfig::default()
    };
    block_on(Run::new(load(gpu, "tiny_a", Quant::Nf4), rows, None, config, out, start)).unwrap()
}

fn finish(mut run: Run) {
    while block_on(run.next()).unwrap().is_some() {}
}

#[test]
fn a_lost_device_ends_the_run_with_an_error_and_the_run_goes_on_on_another() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    finish(run(&gpu(), &whole, Start::Fresh));
    let gpu_to_lose = gpu();
    let mut first = run(&gpu_to_lose, &broken, Start::Fresh);
    loop {
        match block_on(first.next()).unwrap().unwrap() {
            Event::Step { step, .. } if step.step == 3 => break,
            _ => {}
        }
    }
    gpu_to_lose.destroy();
    let error = loop {
        match block_on(first.next()) {
            Ok(event) => assert!(event.is_some(), "the run ended without a word"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Device { .. }), "{error:?}");
    assert!(error.to_string().contains("given up"), "{error}");
    drop(first);
    assert!(broken.join("checkpoints/step-2").is_dir());
    assert!(!broken.join("checkpoints/step-4").exists());
    finish(run(&gpu(), &broken, Start::Resume));
    for file in ["adapter/adapter_model.safetensors", "checkpoints/step-6/optimizer.safetensors"] {
        let of = |run: &std::path::Path| std::fs::read(run.join(file)).unwrap();
        assert!(of(&whole) == of(&broken), "{file} differs");
    }
}
