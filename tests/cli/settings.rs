//! Settings by other names and in other files: what a run is made of is in its run.toml.

use crate::program::{Done, Place};

#[test]
fn flags_of_peft_trl_and_mlx_lm_are_taken_with_dashes_or_underscores() {
    let place = Place::new();
    let args = "train --model_name_or_path model --data train.jsonl --output_dir run --lora_r 3 \
                --lora-alpha 6 --load_in_4bit --use_rslora True --gradient_checkpointing \
                --per_device_train_batch_size 2 --gradient_accumulation_steps 1 --iters 2 \
                --max-seq-length 64 --mask-prompt --report_to none --num-layers -1 --seed 3";
    let done = place.run(&args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(done.code, Some(0), "{}", done.err);
    let settings = place.read("run/run.toml");
    for line in [
        "rank = 3",
        "lora_alpha = 6.0",
        "quant = \"nf4\"",
        "use_rslora = true",
        "gradient_checkpointing = \"on\"",
        "batch_size = 2",
        "max_steps = 2",
        "max_length = 64",
        "loss = \"completion\"",
        "seed = 3",
    ] {
        assert!(settings.contains(line), "no `{line}` in {settings}");
    }
    let done =
        place.run(&["train", "-m", "model", "--out", "x", "--data", "a", "--num-layers", "8"]);
    done.fails_saying(&["num_layers", "mlx_lm.lora", "--layers-to-transform"]);
}

#[test]
fn yaml_is_read_beside_toml() {
    let place = Place::new();
    let yaml = "# of TRL\nmodel_name_or_path: model\ndata: [train.jsonl]\nlora_r: 3\nlearning_rate: 1e-3\n\
                per_device_train_batch_size: 2\nmax_steps: 1\neval_split: 0.25\ndeepspeed: null\n";
    place.write("run.yaml", yaml);
    let done = place.run(&["train", "-c", "run.yaml", "--out", "run", "--rank", "4"]);
    // A setting by two names, in two places: the flag wins.
    assert_eq!(done.code, Some(0), "{}", done.err);
    let settings = place.read("run/run.toml");
    for line in ["rank = 4", "learning_rate = 0.001", "batch_size = 2", "eval_split = 0.25"] {
        assert!(settings.contains(line), "no `{line}` in {settings}");
    }
    place.write("run.yaml", "model: model\nfsdp: full_shard\n");
    let done = place.run(&["train", "-c", "run.yaml", "--out", "x"]);
    done.fails_saying(&["run.yaml", "fsdp", "one device"]);
}

#[test]
fn a_share_of_the_rows_is_held_out_and_prompts_are_answered_at_evaluations() {
    let place = Place::new();
    place.write("prompts.txt", "item 3 costs $\n\nitem 4 costs $\n");
    let run =
        "--eval-split 0.3 --eval-steps 2 --max-steps 4 --save-steps 2 --sample-prompts prompts.txt";
    let done = Done::of(place.train("run", run).output().unwrap());
    assert!(done.err.contains("4 of these rows are held out, 9 are trained on"), "{}", done.err);
    assert_eq!(done.lines().iter().filter(|line| line["eval_loss"].is_f64()).count(), 3);
    assert!(place.path("run/best/adapter_model.safetensors").is_file());
    let samples = place.read("run/samples.jsonl");
    let steps: Vec<u64> = samples
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| {
            assert!(line["text"].is_string() && line["prompt"].is_string(), "{line}");
            line["step"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(steps, [0, 0, 2, 2, 4, 4]);
    // What is resumed ends as it was, with the rows held out that were.
    let before = place.read("run/metrics.jsonl");
    std::fs::remove_dir_all(place.path("run/checkpoints/step-4")).unwrap();
    Done::of(place.train("run", &format!("{run} --resume")).output().unwrap()).lines();
    let losses = |text: &str| -> Vec<String> {
        let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(of).map(|l| format!("{} {}", l["loss"], l["eval_loss"])).collect()
    };
    assert_eq!(losses(&place.read("run/metrics.jsonl")), losses(&before));
    assert_eq!(place.read("run/samples.jsonl"), samples);
}
