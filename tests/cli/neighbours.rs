//! Neighbours from `prepare` to `predict` on the tiny model: no leak, and an index that goes with
//! the adapter.

use std::fs;

use serde_json::{Value, json};

use crate::program::{Done, Place};

/// 24 products, each price once; three of them again in other white space and case, dearer by 500.
fn products() -> String {
    let mut out = String::from("title,price\n");
    for i in 0..24 {
        out += &format!("Lamp {} no {},{}\n", ["red", "blue", "green"][i % 3], 100 + i, 10 + i);
    }
    for i in 0..3 {
        let colour = ["RED", "BLUE", "GREEN"][i];
        out += &format!("  LAMP  {colour} No  {},{}\n", 100 + i, 510 + i);
    }
    out
}

const PREPARE: &str = "prepare products.csv --out data --model model --json --integer \
                       --neighbours 3 --neighbour-tokens 18 --split 0.7,0.15,0.15";

fn run(place: &Place, words: &str) -> Done {
    place.run(&words.split_whitespace().collect::<Vec<_>>())
}

fn rows(place: &Place, name: &str) -> Vec<(String, f64)> {
    let row = |line: &str| -> (String, f64) {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        (text("prompt"), text("completion").parse().unwrap())
    };
    place.read(name).lines().map(row).collect()
}

/// Title and prices of the neighbours in a prompt.
fn parts(prompt: &str) -> (String, Vec<f64>) {
    let title = prompt.lines().find_map(|line| line.strip_prefix("Title: ")).unwrap();
    let price = |line: &str| line.strip_prefix('$')?.split_once(": ")?.0.parse().ok();
    (title.to_lowercase(), prompt.lines().filter_map(price).collect())
}

#[test]
fn no_row_is_told_its_own_price() {
    let place = Place::new();
    place.write("products.csv", &products());
    let said = run(&place, PREPARE).lines().remove(0);
    assert_eq!((&said["neighbours"], &said["neighbours_from"]), (&json!(3), &said["train"]));
    let train = rows(&place, "data/train.jsonl");
    let trained_on: Vec<f64> = train.iter().map(|row| row.1).collect();
    for split in ["train", "validation", "test"] {
        for (prompt, price) in rows(&place, &format!("data/{split}.jsonl")) {
            let (title, found) = parts(&prompt);
            assert_eq!(found.len(), 3, "{prompt}");
            // The number in the title says which product it is, in whatever case and white space.
            let number: f64 = title.split(' ').next_back().unwrap().parse().unwrap();
            let own = [number - 90.0, number + 410.0];
            assert!(own.contains(&price), "{title} {price}");
            assert!(found.iter().all(|price| !own.contains(price)), "{split}: {prompt} [{price}]");
            assert!(found.iter().all(|price| trained_on.contains(price)), "{split}: {prompt}");
        }
    }
    // Elsewhere: the training rows that were prepared, asked for all products, theirs too.
    let elsewhere = "prepare products.csv --out other --model model --json --integer --split 0,0,1 \
                     --neighbours 3 --neighbour-tokens 18 --from data/train.jsonl";
    run(&place, elsewhere).lines();
    for (prompt, price) in rows(&place, "other/test.jsonl") {
        let (_, found) = parts(&prompt);
        assert!(found.iter().all(|found| found % 500.0 != price % 500.0), "{prompt} [{price}]");
    }
    // Rows without neighbours have no index left beside them.
    run(&place, "prepare products.csv --out data --model model --json").lines();
    assert!(!place.path("data/neighbours.jsonl.gz").exists());
    run(&place, "prepare products.csv --out data --model model --neighbours 3 --split 0,0,1")
        .fails_saying(&["--neighbours", "--from"]);
}

#[test]
fn the_index_goes_with_the_adapter() {
    let place = Place::new();
    place.write("products.csv", &products());
    let longest = run(&place, PREPARE).lines()[0]["longest_row"].as_u64().unwrap();
    let train = "train --json --model model --data data/train.jsonl --batch-size 2 --rank 4 \
                 --gradient-accumulation-steps 1 --max-steps 1 --number-loss soft";
    run(&place, &format!("{train} --out short --max-length {}", longest - 20))
        .fails_saying(&["--max-length", &longest.to_string()]);
    let done = run(&place, &format!("{train} --out run --max-length {longest}"));
    assert!(done.err.contains("carries texts and prices"), "{}", done.err);
    done.lines();
    assert_eq!(
        place.bytes("run/adapter/neighbours.jsonl.gz"),
        place.bytes("data/neighbours.jsonl.gz")
    );
    let about = run(&place, "adapters run/adapter --json").lines().remove(0);
    assert_eq!(about["neighbours"]["neighbours"], 3);

    let evaluate = "evaluate --json --model model --adapter run/adapter --skip-base \
                    --data data/test.jsonl --train-data data/train.jsonl";
    let fitted = format!("{evaluate} --validation-data data/validation.jsonl --out judged");
    let report = run(&place, &fitted).lines().pop().unwrap();
    let weights = report["blend_weights"].as_object().unwrap();
    let sum: f64 = weights.values().map(|w| w.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6 && weights.contains_key("fine_tuned"), "{weights:?}");
    assert!(report["temperature"].is_f64() && report["models"]["blend"]["mae"].is_f64());
    // Kept with the adapter.
    let again = run(&place, &format!("{evaluate} --out again")).lines().pop().unwrap();
    assert_eq!(again["temperature"], report["temperature"]);
    assert_eq!(again["models"]["blend"], report["models"]["blend"]);

    let predict = ["predict", "--json", "--model", "model", "--adapter", "run/adapter"];
    let predict = |text: &str| place.run(&[&predict[..], &[text]].concat());
    let said = predict("Title: Lamp red no 999").lines().remove(0);
    assert_eq!(said["neighbours"].as_array().unwrap().len(), 3);
    let part = |part: &Value| part["weight"].as_f64().unwrap() * part["guess"].as_f64().unwrap();
    let blended: f64 = said["blend_of"].as_array().unwrap().iter().map(part).sum();
    assert!((blended - said["blend"].as_f64().unwrap()).abs() < 1e-9, "{said}");
    // A run's folder stands for its adapter's.
    let of_run = ["predict", "--json", "--model", "model", "--adapter", "run"];
    let again = place.run(&[&of_run[..], &["Title: Lamp red no 999"]].concat()).lines().remove(0);
    assert_eq!(again["neighbours"], said["neighbours"]);
    fs::remove_file(place.path("run/adapter/neighbours.jsonl.gz")).unwrap();
    let done = predict("Title: Lamp red no 999");
    assert!(done.err.contains("neighbours.jsonl.gz is missing"), "{}", done.err);
}
