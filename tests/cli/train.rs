//! `train`: reports, files, and what decides them.

use serde_json::Value;

use crate::program::{Done, Place};

fn train(place: &Place, out: &str, more: &str) -> Vec<Value> {
    Done::of(place.train(out, more).output().unwrap()).lines()
}

#[test]
fn three_steps_report_the_contracts_fields() {
    let place = Place::new();
    let more = "--max-steps 3 --eval-data eval.jsonl --eval-steps 2 --save-steps 2";
    let done = Done::of(place.train("run", more).output().unwrap());
    assert!(
        done.err.contains("trainable params: 2,688 || all params: 183,360 || trainable%: 1.4660"),
        "{}",
        done.err
    );
    let lines = done.lines();
    let steps: Vec<&Value> = lines.iter().filter(|l| l.get("loss").is_some()).collect();
    let evals: Vec<&Value> = lines.iter().filter(|l| l.get("eval_loss").is_some()).collect();
    assert_eq!(steps.iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    // Before training, every two steps, and at the end.
    assert_eq!(evals.iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2, 3]);
    for line in &steps {
        for field in "epoch loss learning_rate grad_norm target_tokens tokens_per_second seconds"
            .split_whitespace()
        {
            assert!(line[field].as_f64().is_some_and(|x| x > 0.0), "{field} in {line}");
        }
    }
    assert_eq!(steps[0]["learning_rate"], 5e-3);
    let first = evals[0]["eval_loss"].as_f64().unwrap();
    assert!(evals[2]["eval_loss"].as_f64().unwrap() < first, "it learns");
    // The same lines are in the file.
    let file: Vec<Value> =
        place.read("run/metrics.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(file, lines);
    for file in ["adapter", "best", "checkpoints/step-2", "checkpoints/step-3"] {
        let config: Value =
            serde_json::from_str(&place.read(&format!("run/{file}/adapter_config.json"))).unwrap();
        assert_eq!((&config["r"], &config["peft_type"]), (&4.into(), &"LORA".into()), "{file}");
        assert!(place.path(&format!("run/{file}/adapter_model.safetensors")).is_file());
    }
    assert!(place.read("run/run.toml").contains("rank = 4"));
    // The folder is taken.
    Done::of(place.train("run", more).output().unwrap())
        .fails_saying(&["--resume", "another --out"]);
}

#[test]
fn two_runs_are_byte_equal_and_seeds_differ() {
    let place = Place::new();
    let more = "--max-steps 3 --target-modules all-linear --use-dora --lora-dropout 0.1";
    for (out, seed) in [("a", "1"), ("b", "1"), ("c", "2")] {
        train(&place, out, &format!("{more} --seed {seed}"));
    }
    let adapter = |run: &str| place.bytes(&format!("{run}/adapter/adapter_model.safetensors"));
    assert_eq!(adapter("a"), adapter("b"));
    assert_ne!(adapter("a"), adapter("c"));
}

#[test]
fn recomputed_activations_give_the_same_adapter() {
    let place = Place::new();
    for mode in ["on", "off"] {
        let more =
            format!("--max-steps 3 --target-modules all-linear --gradient-checkpointing {mode}");
        train(&place, mode, &more);
    }
    let adapter = |run: &str| place.bytes(&format!("{run}/adapter/adapter_model.safetensors"));
    assert_eq!(adapter("on"), adapter("off"));
}

#[test]
fn flags_win_over_the_configuration_file() {
    let place = Place::new();
    place.write("run.toml", "max-steps = 9\nseed = 5\nlora_alpha = 7\nwarmup_steps = 1\n");
    let lines = train(&place, "run", "--config run.toml --max-steps 2 --logging-steps 2");
    assert_eq!(lines.len(), 1, "one line for two steps");
    assert_eq!(lines[0]["step"], 2);
    let saved = place.read("run/run.toml");
    for line in ["max_steps = 2", "seed = 5", "lora_alpha = 7.0", "rank = 4"] {
        assert!(saved.contains(line), "{line} is not in {saved}");
    }
}

#[test]
fn epochs_saving_by_epoch_and_the_limit() {
    let place = Place::new();
    // 13 rows in windows of 4: 4 steps an epoch.
    let more = "--num-train-epochs 2 --gradient-accumulation-steps 2 --save-steps epoch --save-total-limit 1";
    let lines = train(&place, "run", more);
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[3]["epoch"], 1.0);
    assert_eq!(lines[7]["epoch"], 2.0);
    let found: Vec<_> = std::fs::read_dir(place.path("run/checkpoints"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(found, ["step-8"]);
}

#[test]
fn patience_ends_a_run_that_does_not_improve() {
    let place = Place::new();
    let more = "--max-steps 20 --learning-rate 0 --eval-data eval.jsonl --eval-steps 1 --early-stopping-patience 2";
    let lines = train(&place, "run", more);
    assert_eq!(lines.iter().filter(|l| l.get("loss").is_some()).count(), 2);
    // Asked to go on, it sees that it is over.
    assert!(train(&place, "run", &format!("{more} --resume")).is_empty());
}

#[test]
fn every_operation_can_be_verified_and_timed() {
    let place = Place::new();
    let more = "--max-steps 1 --max-length 20 --target-modules all-linear --lora-dropout 0.1";
    train(&place, "verified", &format!("{more} --verify"));
    train(&place, "plain", more);
    let adapter = |run: &str| place.bytes(&format!("{run}/adapter/adapter_model.safetensors"));
    assert_eq!(adapter("verified"), adapter("plain"));
    let done = Done::of(place.train("timed", &format!("{more} --profile")).output().unwrap());
    assert!(done.err.contains("linear_bwd[") && done.err.contains("GFLOP/s"), "{}", done.err);
}

#[test]
fn plan_says_before_what_train_prints() {
    let place = Place::new();
    let plan = |more: &str| {
        let args = format!("plan --json --model model --rank 4 --batch-size 2 {more}");
        let args: Vec<&str> = args.split_whitespace().collect();
        let lines = place.run(&args).lines();
        assert_eq!(lines.len(), 1);
        lines[0].clone()
    };
    let full = plan("--max-length 64");
    let parts = ["weights", "adapters", "optimizer", "activations", "workspace", "images"];
    let sum: u64 = parts.iter().map(|part| full[part].as_u64().unwrap()).sum();
    assert_eq!(full["total"].as_u64(), Some(sum));
    assert_eq!(full["fits"], true);
    assert!(full["device_limit"].as_u64().is_some_and(|bytes| bytes > sum));
    // Rows are shorter than the longest that is allowed, so a plan that sees them is smaller.
    let seen = plan("--max-length 64 --data train.jsonl");
    assert!(seen["total"].as_u64() < full["total"].as_u64());
    // `train` prints the same table.
    let done = Done::of(place.train("run", "--max-length 64 --max-steps 1").output().unwrap());
    let total = format!("{:.1}", seen["total"].as_u64().unwrap() as f64 / f64::from(1 << 20));
    assert!(done.err.contains(&format!("{total}  2 x ")), "no {total} in: {}", done.err);
    // Without weights, the configuration is enough.
    std::fs::remove_file(place.path("model/model.safetensors")).unwrap();
    assert!(plan("--max-length 64")["total"].as_u64().is_some());
}
