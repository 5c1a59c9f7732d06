//! What docs/names.md says of names from elsewhere is what the program does, for all names that
//! there are.

use std::path::Path;

use wgpu_lora::train::config::names::{FIELDS, find};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_name_of_peft_trl_and_mlx_lm_is_known() {
    let all: serde_json::Value = serde_json::from_str(&read("tests/fixtures/names.json")).unwrap();
    let table = read("docs/names.md");
    let mut count = 0;
    for (origin, listed) in all.as_object().unwrap() {
        for version in listed["of"].as_str().unwrap().split(", ") {
            assert!(table.contains(version), "docs/names.md is of another version than {version}");
        }
        for name in listed["names"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let field = find(name).unwrap_or_else(|| panic!("{origin}: {name}"));
            let known = field.of.iter().any(|of| of.to_string() == *origin);
            assert!(known, "{name} is said to be of {:?}, and is of {origin}, too", field.of);
            count += 1;
        }
    }
    let listed: usize = FIELDS.iter().map(|field| field.of.len()).sum();
    assert_eq!(count, listed, "names that are nowhere any more");
}

#[test]
fn the_table_in_the_docs_is_the_programs() {
    let row = |field: &wgpu_lora::train::config::names::Field| {
        let of = Vec::from_iter(field.of.iter().map(ToString::to_string)).join(", ");
        format!("| `{}` | {of} | {field} |\n", field.name)
    };
    let rows: String = FIELDS.iter().map(row).collect();
    let docs = read("docs/names.md");
    let told: String = docs
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(told == rows, "docs/names.md should have these rows:\n{rows}");
}
