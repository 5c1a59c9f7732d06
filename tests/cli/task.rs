//! `evaluate --task text`: any task, by its loss and by answers beside the truth.

use serde_json::Value;

use crate::program::{Done, Place};

#[test]
fn any_task_is_judged_by_its_loss_and_its_answers() {
    let place = Place::new();
    let rows = "{\"prompt\": \"item 3 costs $\", \"completion\": \"21\"}\n".repeat(6);
    place.write("train.jsonl", &rows);
    place.write(
        "test.jsonl",
        &format!("{rows}{{\"prompt\": \"item 4 costs $\", \"completion\": \"31\"}}\n"),
    );
    let more = "--max-steps 30 --target-modules all-linear --learning-rate 2e-2";
    Done::of(place.train("run", more).output().unwrap()).lines();
    let args = "evaluate --json --model model --adapter run --data test.jsonl --task text --out judged \
                --max-new-tokens 8 --extract [0-9]+";
    let mut lines = place.run(&args.split_whitespace().collect::<Vec<_>>()).lines();
    let report = lines.pop().unwrap();
    assert_eq!((lines.len(), &report["n"], &report["task"]), (14, &7.into(), &"text".into()));
    let of = |name: &str, key: &str| report["models"][name][key].as_f64();
    let (before, after) = (of("base", "loss").unwrap(), of("fine_tuned", "loss").unwrap());
    assert!(after < before && (of("base", "perplexity").unwrap() - before.exp()).abs() < 1e-9);
    // Six of seven answers are `21`, and the seventh is near to it or it.
    assert!(of("fine_tuned", "exact_match").unwrap() > 0.8);
    for key in ["f1", "rouge_l"] {
        assert!(of("fine_tuned", key) > of("base", key), "{key}: {report}");
    }
    assert_eq!(of("fine_tuned", "number_found"), Some(1.0));
    let errors = lines.iter().filter(|line| line["model"] == "fine_tuned").map(|line| {
        (line["number"].as_f64().unwrap() - line["true_number"].as_f64().unwrap()).abs()
    });
    let mae = errors.sum::<f64>() / 7.0;
    assert!((of("fine_tuned", "number_mae").unwrap() - mae).abs() < 1e-9);
    let written: Value = serde_json::from_str(&place.read("judged/report.json")).unwrap();
    assert_eq!(written, report);
    let page = place.read("judged/report.html");
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("fine-tuning helped"));
    // The sentence, then the chart with a line a model, then the numbers.
    let [sentence, chart, table] =
        ["<p>On 7 rows", "Loss of each row", "<table>"].map(|part| page.find(part).unwrap());
    assert!(sentence < chart && chart < table && page[chart..table].contains("fine-tuned"));
    assert!(place.path("judged/report.png").metadata().unwrap().len() > 1000);
    assert_eq!(place.read("judged/predictions.jsonl").lines().count(), 14);
}

/// The loss is the one that training's own evaluation measures.
#[test]
fn the_loss_is_that_of_the_run() {
    let place = Place::new();
    let more = "--max-steps 2 --eval-data eval.jsonl";
    let lines = Done::of(place.train("run", more).output().unwrap()).lines();
    let last = lines.iter().rev().find_map(|line| line["eval_loss"].as_f64()).unwrap();
    let args = "evaluate --json --model model --adapter run --data eval.jsonl --task text --out judged \
                --max-new-tokens 1 --skip-base --batch-size 3";
    let report = place.run(&args.split_whitespace().collect::<Vec<_>>()).lines().pop().unwrap();
    let loss = report["models"]["fine_tuned"]["loss"].as_f64().unwrap();
    assert!((loss - last).abs() < 1e-5 * last, "{loss} and {last}");
}
