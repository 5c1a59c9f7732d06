//! prepare, evaluate and predict on the tiny model.

use std::fs;

use serde_json::{Value, json};

use crate::program::{Done, Place};

/// 40 products, some of which fall out.
fn products() -> String {
    let mut out = String::from("Product Name,kind,maker,list_price\n");
    for i in 0..40 {
        out +=
            &format!("\"Lamp, no. {i}\",{},Acme,{}\n", ["Home", "Office"][i % 2], 10.5 + i as f64);
    }
    out + "\"Lamp, no. 3\",Home,Acme,99\nToo dear,Home,Acme,1000\nNo price,Home,Acme,\n"
}

const MAP: &str = "category=kind,brand=maker";

fn prepare(place: &Place, more: &[&str]) -> Done {
    let mut args = vec![
        "prepare",
        "products.csv",
        "--out",
        "data",
        "--model",
        "model",
        "--map",
        MAP,
        "--json",
    ];
    args.extend(more);
    place.run(&args)
}

fn rows(place: &Place, name: &str) -> Vec<Value> {
    place.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn prepare_makes_three_files_that_the_seed_decides() {
    let place = Place::new();
    place.write("products.csv", &products());
    let said = prepare(&place, &["--split", "0.8,0.1,0.1", "--cutoff", "30"]).lines();
    assert_eq!(
        (&said[0]["rows_read"], &said[0]["train"], &said[0]["test"]),
        (&json!(43), &json!(32), &json!(4))
    );
    let dropped = &said[0]["dropped"];
    for why in ["duplicate_title", "price_range", "no_price"] {
        assert_eq!(dropped[why], 1, "{dropped}");
    }
    let train = rows(&place, "data/train.jsonl");
    // 10.5, 11.5, …: halves round to the even neighbour; the byte tokenizer cuts after 30 bytes.
    for row in &train {
        let prompt = row["prompt"].as_str().unwrap();
        assert!(
            prompt.starts_with("What does this cost to the nearest dollar?\n\nTitle: Lamp, no."),
            "{prompt}"
        );
        assert!(
            prompt.ends_with("\nCategory:\n\nPrice is $") || prompt.contains("\nCategory"),
            "{prompt}"
        );
        let price: f64 =
            row["completion"].as_str().unwrap().strip_suffix(".00").unwrap().parse().unwrap();
        assert!(price % 2.0 == 0.0, "{row}");
    }
    assert!(
        rows(&place, "data/test.jsonl")
            .iter()
            .all(|r| r["completion"].as_str().unwrap().ends_with(".5"))
    );
    let bytes = place.bytes("data/train.jsonl");
    for file in ["report.html", "report.png", "prepare.json"] {
        assert!(place.bytes(&format!("data/{file}")).len() > 200, "{file}");
    }
    let html = place.read("data/report.html");
    assert!(
        html.contains("<svg") && !html.contains("http://") || !html.contains("src="),
        "one file"
    );
    prepare(&place, &["--split", "0.8,0.1,0.1", "--cutoff", "30"]).lines();
    assert_eq!(place.bytes("data/train.jsonl"), bytes);
    prepare(&place, &["--split", "0.8,0.1,0.1", "--cutoff", "30", "--seed", "1"]).lines();
    assert_ne!(place.bytes("data/train.jsonl"), bytes);
    prepare(&place, &["--integer"]).lines();
    let row = &rows(&place, "data/train.jsonl")[0];
    assert!(row["completion"].as_str().unwrap().parse::<u32>().is_ok(), "{row}");
}

#[test]
fn prepare_names_what_is_wrong_and_leaves_nothing() {
    let place = Place::new();
    place.write("products.csv", &format!("{}Bad,Home,Acme,cheap\n", products()));
    prepare(&place, &[]).fails_saying(&[
        "products.csv",
        "45",
        "`cheap` is no number",
        "--skip-bad",
    ]);
    assert!(!place.path("data").exists());
    // Prices that no convention writes; docs/tables.md has those that are read.
    for bad in ["0,999", ",123", "12,50", "1.234,56", "1,23,456", "5€", "(5)", "1 234.56"] {
        place.write("products.csv", &format!("{}Bad,Home,Acme,\"{bad}\"\n", products()));
        prepare(&place, &[]).fails_saying(&[
            "products.csv",
            "row 45",
            &format!("`{bad}` is no number"),
        ]);
    }
    place.write("products.csv", &format!("{}Bad,Home,Acme,cheap\n", products()));
    assert_eq!(prepare(&place, &["--skip-bad"]).lines()[0]["dropped"]["bad_price"], 1);
    place.write("products.csv", "title,price\n\"open,3\n\"a\",4\n");
    prepare(&place, &["--map", ""]).fails_saying(&["products.csv", "line"]);
    place.write("products.csv", &products());
    // A column that no field is made of is named, once.
    let done = prepare(&place, &["--map", "brand=", "--split", "0.8,0.1,0.1"]);
    assert_eq!(
        done.err.matches("columns that are not used: kind, maker (").count(),
        1,
        "{}",
        done.err
    );
    assert_eq!(done.lines()[0]["unused_columns"], json!(["kind", "maker"]));
    prepare(&place, &["--map", "price=cost"]).fails_saying(&["cost", "list_price"]);
    prepare(&place, &["--split", "1,1,1"]).fails_saying(&["--split", "sum to 1"]);
    let left: Vec<_> =
        fs::read_dir(place.path("data")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}

fn evaluate(place: &Place, more: &[&str]) -> Done {
    let mut args = vec![
        "evaluate",
        "--json",
        "--model",
        "model",
        "--data",
        "data/test.jsonl",
        "--out",
        "judged",
    ];
    args.extend(more);
    place.run(&args)
}

#[test]
fn evaluate_judges_all_and_goes_on_and_predict_agrees() {
    let place = Place::new();
    place.write("products.csv", &products());
    prepare(&place, &["--split", "0.8,0.1,0.1"]).lines();
    let done = Done::of(place.train("run", "--max-steps 2 --max-length 40").output().unwrap());
    assert_eq!(done.code, Some(0), "{}", done.err);
    let with =
        ["--adapter", "run/adapter", "--train-data", "data/train.jsonl", "--batch-size", "3"];
    let mut said = evaluate(&place, &with).lines();
    let report = said.pop().unwrap();
    assert_eq!((said.len(), &report["n"]), (8, &json!(4)));
    let written: Value = serde_json::from_str(&place.read("judged/report.json")).unwrap();
    assert_eq!(written, report);
    for name in [
        "base",
        "fine_tuned",
        "constant_mean",
        "constant_median",
        "category_median",
        "bag_of_words",
        "tfidf_ridge",
        "neighbours",
    ] {
        let m = &report["models"][name];
        for key in
            ["mae", "mae_ci95", "mse", "rmse", "r2", "median_error", "green", "orange", "red"]
        {
            assert!(m[key].is_f64(), "{name}.{key}: {m}");
        }
        let ours = ["base", "fine_tuned"].contains(&name);
        for key in ["mae_median", "mae_mean", "mae_mode"] {
            assert_eq!(m[key].is_f64(), ours, "{name}.{key}");
        }
    }
    // The mean of the lines is the report's.
    let tuned: Vec<&Value> = said.iter().filter(|l| l["model"] == "fine_tuned").collect();
    let mae = tuned.iter().map(|l| l["error"].as_f64().unwrap()).sum::<f64>() / 4.0;
    assert!((mae - report["models"]["fine_tuned"]["mae"].as_f64().unwrap()).abs() < 1e-9);
    for file in ["report.html", "report.png", "predictions.jsonl"] {
        assert!(place.bytes(&format!("judged/{file}")).len() > 200, "{file}");
    }

    // Interrupted after the base model and a half-written line: the rest is made, the figures are
    // the same.
    let all = place.read("judged/predictions.jsonl");
    let some: Vec<&str> = all.lines().take(6).collect();
    fs::remove_dir_all(place.path("judged")).unwrap();
    fs::create_dir(place.path("judged")).unwrap();
    place.write(
        "judged/.predictions.jsonl.partial",
        &format!("{}\n{{\"model\":\"fi", some.join("\n")),
    );
    let again = evaluate(&place, &with);
    assert!(again.err.contains("going on after 5 predictions"), "{}", again.err);
    let mut lines = again.lines();
    assert_eq!(lines.len(), 4);
    // Other batches may be other kernel bodies, whose sums are in another order.
    let models = &lines.pop().unwrap()["models"];
    for (name, expected) in report["models"].as_object().unwrap() {
        for (key, expected) in expected.as_object().unwrap() {
            let (got, expected) = (models[name][key].as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                (got - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                "{name}.{key}: {got} for {expected}"
            );
        }
    }
    // Another adapter's predictions are not used.
    place.write("judged/.predictions.jsonl.partial", &some.join("\n"));
    assert!(!evaluate(&place, &[]).err.contains("going on"));

    let row = &rows(&place, "data/test.jsonl")[0];
    let prompt = row["prompt"].as_str().unwrap();
    let args = [
        "predict",
        "--json",
        "--model",
        "model",
        "--adapter",
        "run/adapter",
        prompt,
        "--price-mass",
        "0.95",
    ];
    let said = place.run(&args).lines().remove(0);
    let line = tuned.iter().find(|l| l["row"] == 0).unwrap();
    for (predict, evaluate) in [
        ("price", "median"),
        ("mean", "mean"),
        ("mode", "mode"),
        ("low", "low"),
        ("greedy", "guess"),
    ] {
        let (a, b) = (said[predict].as_f64().unwrap(), line[evaluate].as_f64().unwrap());
        assert!((a - b).abs() < 1e-2, "{predict}: {a}, {evaluate}: {b}");
    }
    assert_eq!(said["alternatives"].as_array().unwrap().len(), 5);
    assert!(
        said["alternatives"][0]["probability"].as_f64()
            >= said["alternatives"][1]["probability"].as_f64()
    );
    place.run(&["predict", "--model", "model", " "]).fails_saying(&["description", "is empty"]);

    // A whole table: the same prices, a row each.
    let predict =
        ["predict", "--model", "model", "--adapter", "run/adapter", "--price-mass", "0.95"];
    let predict = |more: &[&str]| place.run(&[&predict[..], more].concat());
    let all = predict(&["--json", "--data", "data/test.jsonl"]).lines();
    assert_eq!(all.len(), rows(&place, "data/test.jsonl").len());
    for line in &all {
        let row = line["row"].as_u64().unwrap() - 1;
        let judged = tuned.iter().find(|l| l["row"] == row).unwrap();
        let (a, b) = (line["price"].as_f64().unwrap(), judged["median"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-2, "row {row}: {a}, {b}");
    }
    place.write("new.csv", "name,maker\n\"Lamp, \"\"big\"\"\",Acme\n,\nDesk,Acme\n");
    let done = predict(&["--data", "new.csv", "--map", "brand=maker", "--out", "prices.csv"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("1 rows have no text"), "{}", done.err);
    assert_eq!(done.out, "2 prices in prices.csv\n");
    let table = place.read("prices.csv");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines[0], lines.len()), ("row,title,price,low,high,blend,foreign", 3));
    assert!(lines[1].starts_with("1,\"Lamp, \"\"big\"\"\","), "{table}");
    assert!(lines[2].starts_with("3,\"Desk\","), "{table}");
    predict(&["--data", "new.csv", "--out", "no/prices.csv"]).fails_saying(&["no/.prices.csv"]);
    place.write("nothing.csv", "sku\n12\n");
    predict(&["--data", "nothing.csv"]).fails_saying(&["nothing.csv", "sku", "--map title=COLUMN"]);
}

#[test]
fn evaluate_names_what_is_wrong() {
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    place.write(
        "data/test.jsonl",
        "{\"prompt\":\"a\",\"completion\":\"1.0\"}\n{\"prompt\":\"a\",\"completion\":\"dear\"}\n",
    );
    evaluate(&place, &[]).fails_saying(&["test.jsonl", "2", "`dear` is no number"]);
    place.write("data/test.jsonl", "{\"text\":\"a\"}\n");
    evaluate(&place, &[]).fails_saying(&["test.jsonl", "`prompt`", "prepare"]);
    assert!(!place.path("judged/report.json").exists());
    place
        .run(&[
            "train",
            "--model",
            "model",
            "--data",
            "train.jsonl",
            "--out",
            "run",
            "--preset",
            "price",
        ])
        .fails_saying(&["--preset price", "pricer-lite", "pricer-full", "pricer-demo"]);
}
