//! `train` on files of every format: equal rows give equal runs, whatever they lie in.

use std::path::Path;

use crate::program::{Done, Place};
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
    ] {
        assert!(Path::new(&file(name)).is_file(), "{name} is missing");
        assert_eq!(adapter(&place, name, &file(name), ""), expected, "{name}");
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
