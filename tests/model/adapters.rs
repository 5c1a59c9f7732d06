//! Adapters whose configurations say more than names: PEFT's logits beside the model and merged,
//! and scales that come back.

use std::path::{Path, PathBuf};

use crate::setup::{adapter, block_on, difference, gpu, ids, load, shake};
use wgpu_lora::export;
use wgpu_lora::format::{AdapterFile, ModelFiles, TargetModules};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{LoadOptions, Model, Pass, Quant, adapter_notes};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures/peft").join(name)
}

fn open(gpu: &Gpu, folder: &Path) -> Model {
    let files = ModelFiles::open(folder).unwrap();
    let options = LoadOptions { quant: Quant::None, max_positions: 16 };
    block_on(Model::load(gpu, &files.checkpoint, &files.config, options, &mut |_, _| {})).unwrap()
}

/// Logits behind the last id.
fn last(model: &Model, ids: &[u32]) -> Vec<f32> {
    let space = model.workspace(Pass { batch: 1, queries: ids.len(), targets: 1 }, None).unwrap();
    block_on(model.logits(&space, ids, 1, &[ids.len() as u32 - 1])).unwrap()
}

#[test]
fn what_a_configuration_says_is_what_peft_makes_of_it() {
    let text = std::fs::read(fixture("peft.json")).unwrap();
    let made: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let prompt: Vec<u32> = serde_json::from_value(made["ids"].clone()).unwrap();
    let (gpu, embedded) = (gpu(), root().join("assets/model"));
    let files = ModelFiles::open(&embedded).unwrap();
    let mut model = open(&gpu, &embedded);
    let temporary = tempfile::tempdir().unwrap();
    for (name, want) in made["logits"].as_object().unwrap() {
        let file = AdapterFile::load(fixture(name)).unwrap();
        block_on(model.add_adapter("a", &file)).unwrap();
        let beside = last(&model, &prompt);
        for (id, logit) in want.as_object().unwrap() {
            let off = f64::from(beside[id.parse::<usize>().unwrap()]) - logit.as_f64().unwrap();
            assert!(off.abs() < 1e-4, "{name}: the logit of {id} is {off} away");
        }
        // In bf16, the type of the model's weights.
        let out = temporary.path().join(name);
        export::merge(&files, &file, &out, &mut |_, _| {}).unwrap();
        let off = difference(&last(&open(&gpu, &out), &prompt), &beside);
        assert!(off < 0.1, "{name}: merged {off} away");
    }
    let file = AdapterFile::load(fixture("anchored_prefix")).unwrap();
    let notes = adapter_notes(&file.config, Some(&file), model.config());
    assert_eq!(notes, ["alpha_pattern: `^model.layers.1` matches none of the adapter's layers"]);
}

#[test]
fn layers_without_tensors_are_named_and_left_as_they_are() {
    let gpu = gpu();
    let mut model = open(&gpu, &root().join("assets/model"));
    let whole = AdapterFile::load(fixture("adapters_name")).unwrap();
    let mut file = whole.clone();
    file.tensors.retain(|key, _| key.contains("layers.1."));
    let prompt = ids(9, 1);
    block_on(model.add_adapter("part", &file)).unwrap();
    let part = last(&model, &prompt);
    // The same as if the configuration meant layer 1 only.
    let mut one = file.clone();
    (one.config.layers_to_transform, one.config.layers_pattern) = (Some(vec![1]), Vec::new());
    block_on(model.add_adapter("one", &one)).unwrap();
    assert_eq!(part, last(&model, &prompt));
    let notes = adapter_notes(&file.config, Some(&file), model.config());
    assert_eq!(notes.len(), 1, "{notes:?}");
    for word in ["`model.layers.0.self_attn.q_proj` and 1 other", "no tensors"] {
        assert!(notes[0].contains(word), "{notes:?}");
    }
    // To go on training, all must be there.
    let why = block_on(model.add_trainable_adapter("part", &file)).unwrap_err().to_string();
    assert!(why.contains("layers.0.self_attn.q_proj.lora_A.weight` is missing"), "{why}");
    // Names and numbers that mean nothing are said, too.
    let mut idle = whole.clone();
    idle.config.layers_to_transform = Some(vec![0, 1, 70]);
    idle.config.target_modules =
        TargetModules::Named(["q_proj", "v_proj", "c_attn"].map(str::to_owned).into());
    idle.config.exclude_modules = Some(TargetModules::Named(vec!["vision_tower".into()]));
    let notes = adapter_notes(&idle.config, Some(&idle), model.config()).join("\n");
    for word in
        ["target_modules: `c_attn`", "layers_to_transform: `70`", "`vision_tower` excludes none"]
    {
        assert!(notes.contains(word), "{word}: {notes}");
    }
    block_on(model.add_adapter("idle", &idle)).unwrap();
}

/// A factor of 1 is the adapter as trained, whatever the patterns say, and a norm of DoRA follows
/// the scale of an adapter that is not the active one.
#[test]
fn scales_come_back() {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::None);
    let prompt = ids(9, 1);
    for dora in [false, true] {
        let mut config = adapter(4, &["q_proj", "v_proj", "down_proj"]);
        config.rank_pattern = [("v_proj", 2)].into();
        config.alpha_pattern = [("layers.1.*", 1.0), ("q_proj", 24.0)].into();
        config.use_dora = dora;
        block_on(model.add_fresh_adapter("a", &config, 1)).unwrap();
        shake(&mut model);
        let trained = last(&model, &prompt);
        block_on(model.set_adapter_scale("a", 2.0)).unwrap();
        let twice = last(&model, &prompt);
        assert!(difference(&twice, &trained) > 1e-3, "dora {dora}");
        block_on(model.set_adapter_scale("a", 1.0)).unwrap();
        assert_eq!(last(&model, &prompt), trained, "dora {dora}");
        // While another one answers.
        block_on(model.add_fresh_adapter("other", &adapter(1, &["k_proj"]), 1)).unwrap();
        block_on(model.set_adapter_scale("a", 2.0)).unwrap();
        assert_eq!(model.active_adapter_name(), Some("other"));
        model.set_adapter(Some("a")).unwrap();
        assert_eq!(last(&model, &prompt), twice, "dora {dora}");
    }
}
