//! `train` on files of every format: equal rows give equal runs, whatever they lie in.

use std::path::Path;

use crate::program::{Done, Place, edit_json};
use crate::tiny;

fn file(name: &str) -> String {
    tiny::fixture("data").join(name).display().to_string()
}

/// Trains two steps on `data` (which `more` may map) and returns the adapter.
fn adapter(place: &Place, out: &str, data: &str, more: &str) -> Vec<u8> {
    let mut command = place.train(out, "--max-steps 2");
    // The last of a repeated list wins in a list of its own.
    let args: Vec<String> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    let args: Vec<&str> = args.iter().map(|a| if a == "train.jsonl" { data } else { a }).collect();
    command = place.command(&args);
    command.args(more.split_whitespace());
    let lines = Done::of(command.output().unwrap()).lines();
    assert_eq!(lines.len(), 2);
    place.bytes(&format!("{out}/adapter/adapter_model.safetensors"))
}

#[test]
fn equal_rows_in_every_format_give_the_same_adapter() {
    let place = Place::new();
    let expected = adapter(&place, "jsonl", "train.jsonl", "");
    for name in [
        "rows.json",
        "rows.csv.gz",
        "rows.jsonl.zst",
        "rows.parquet",
        "rows.zstd.parquet",
        "rows.gzip.parquet",
        "rows.lz4.parquet",
        "rows.none.parquet",
        "rows.brotli.parquet",
        "rows.binary.parquet",
    ] {
        assert!(Path::new(&file(name)).is_file(), "{name} is missing");
        assert_eq!(adapter(&place, name, &file(name), ""), expected, "{name}");
    }
    // Excel's first line, and the line ends of old Macs.
    let csv = |end: &str| {
        let row = |i: usize| format!("item {i} costs $;{}{end}", i * 7 % 50);
        format!("sep=;{end}prompt;completion{end}{}", (0..13).map(row).collect::<String>())
    };
    for (name, end) in [("excel.csv", "\r\n"), ("mac.csv", "\r")] {
        place.write(name, &csv(end));
        assert_eq!(adapter(&place, name.trim_end_matches(".csv"), name, ""), expected, "{name}");
    }
    // Other names for the columns, a separator and quotes that a spreadsheet writes.
    let mut csv = String::from("\u{feff}\"How much?\";id;price\r\n");
    for i in 0..13 {
        csv.push_str(&format!("\"item {i} costs $\";{i};{}\r\n", i * 7 % 50));
    }
    place.write("sheet.csv", &csv);
    let mut args = place.train("mapped", "--max-steps 2 --map completion=price");
    args.args(["--map", "prompt=How much?"]);
    let args: Vec<String> = args.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    let args = args.iter().map(|a| if a == "train.jsonl" { "sheet.csv" } else { a });
    let done = Done::of(place.command(&args.collect::<Vec<_>>()).output().unwrap());
    assert_eq!(done.lines().len(), 2);
    assert_eq!(place.bytes("mapped/adapter/adapter_model.safetensors"), expected);
    assert!(
        place
            .read("mapped/run.toml")
            .contains("map = [\"completion=price\", \"prompt=How much?\"]")
    );
}

#[test]
fn rows_are_cut_at_1024_the_models_limit_or_a_presets_128() {
    let place = Place::new();
    let row = |prompt: usize, completion: usize| {
        let row =
            serde_json::json!({"prompt": "a".repeat(prompt), "completion": "b".repeat(completion)});
        format!("{row}\n")
    };
    // 161, 1199 and 1301 tokens with the end: the second loses its end, the third all of its
    // answer.
    place.write("train.jsonl", &format!("{}{}{}", row(100, 60), row(990, 208), row(1290, 10)));
    let plan = |more: &str| {
        let args = format!("plan --json --model model --data train.jsonl --batch-size 1 {more}");
        let done = place.run(&args.split_whitespace().collect::<Vec<_>>());
        let err = done.err.clone();
        (err, done.lines()[0]["tokens"].as_u64())
    };
    let limit = |tokens: u64| {
        edit_json(&place.path("model/config.json"), |c| {
            c["max_position_embeddings"] = tokens.into()
        });
    };
    let cut = |n: usize, to: usize, ends: usize| {
        format!(
            "{n} of 3 rows are cut to --max-length {to} (the longest has 1301 tokens); {ends} of them lose the end"
        )
    };
    limit(4096);
    let (said, tokens) = plan("");
    assert!(said.contains(&cut(2, 1024, 2)), "{said}");
    assert_eq!(tokens, Some(1024));
    limit(1250);
    assert!(plan("--max-length 1250").0.contains(&cut(1, 1250, 1)));
    assert_eq!(plan("--max-length 1301").1, Some(1301), "what is typed stays");
    limit(200);
    assert!(plan("").0.contains(&cut(2, 200, 2)));
    let (said, tokens) = plan("--preset pricer-demo");
    assert!(said.contains(&cut(3, 128, 3)), "{said}");
    assert_eq!(tokens, Some(128));
    // The run writes down the number that it goes by, so another default would not change it.
    let done = Done::of(place.train("run", "--max-steps 1").output().unwrap());
    assert!(done.err.contains(&cut(2, 200, 2)), "{}", done.err);
    assert!(place.read("run/run.toml").contains("max_length = 200\n"));
    limit(100_000);
    Done::of(place.train("run", "--max-steps 1 --resume").output().unwrap()).lines();
    assert!(place.read("run/run.toml").contains("max_length = 200\n"));
}

#[test]
fn messages_go_through_the_models_chat_template() {
    let place = Place::new();
    let chats = file("chats.parquet");
    let mut command = place.train("none", "--max-steps 1");
    command.args(["--data", &chats]);
    Done::of(command.output().unwrap())
        .fails_saying(&["without a chat template", "chat_template.jinja"]);
    // One that writes what prompt and completion would: the runs are equal.
    let template = "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}";
    place.write("model/chat_template.jinja", template);
    place.write("model/tokenizer_config.json", "{\"eos_token\": \"</s>\"}");
    let expected = adapter(&place, "rows", "train.jsonl", "");
    assert_eq!(adapter(&place, "chats", &chats, ""), expected);
}
