//! Every command of docs/guide.md, in its order, on the tiny model.

use std::path::Path;

use crate::program::{Place, rows};
use crate::tiny;

#[test]
fn every_command_of_the_guide_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/guide.md")).unwrap();
    let place = Place::new();
    place.write("held_out.jsonl", &rows(50, 4));
    place.write("prompts.txt", "item 3 costs $\nitem 5 costs $\n");
    place.write("questions.txt", "hi\nhow are you?\n/reset\nhi\n");
    let yaml = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    place.write("run.yaml", yaml);
    let csv: String = (0..9).map(|i| format!("\"item {i}, new?\",${i}\n")).collect();
    place.write("reviews.csv", &format!("question,answer\n{csv}"));
    let chat = r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]}"#;
    place.write("chats.jsonl", &format!("{chat}\n{chat}\n"));
    write_template(&place, "model");
    let mut ran = 0;
    for block in guide.split("```sh\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            assert!(line.starts_with("wgpu-lora "), "not a command: {line}");
            run(&place, line);
            ran += 1;
        }
    }
    assert!(ran >= 20, "{ran} commands");
    for image in guide.split("](images/").skip(1) {
        let name = image.split(')').next().unwrap();
        assert!(root.join("docs/images").join(name).is_file(), "{name}");
    }
}

/// Every command of README.md, in its order, on the tiny model: `doctor`, which has tests of its
/// own, is only asked what it takes.
#[test]
fn every_command_of_the_readme_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap().replace("\\\n", "");
    let place = Place::new();
    std::fs::create_dir_all(place.path("path/to")).unwrap();
    for folder in ["path/to/Llama-3.2-1B", "MODEL"] {
        tiny::write_model(&place.path(folder), "tiny_a");
    }
    write_template(&place, "path/to/Llama-3.2-1B");
    for (name, first, n) in [("rows", 0, 13), ("held_out", 50, 4), ("test", 60, 4)] {
        place.write(&format!("{name}.jsonl"), &rows(first, n));
    }
    // 5 % of the products are for validation.
    let lamp = |i: usize| format!("\"Lamp, no. {i}\",\"For a desk, {i} W\",{}\n", 10 + i);
    let lamps: String = (0..60).map(lamp).collect();
    place.write("products.csv", &format!("title,description,price\n{lamps}"));
    place.write("unpriced.csv", "title,description\n\"Lamp, no. 70\",\"For a desk, 70 W\"\n");
    let mut ran = 0;
    for block in readme.split("```sh\n").skip(1) {
        let lines = block.split("```").next().unwrap().lines();
        for line in lines.filter(|line| line.starts_with("wgpu-lora ")) {
            let line = match line.split(" #").next().unwrap().trim_end() {
                "wgpu-lora doctor" => "wgpu-lora doctor --help",
                // Someone who says one thing.
                chat if chat.starts_with("wgpu-lora chat") => &format!("echo hi | {chat}"),
                line => line,
            };
            run(&place, line);
            ran += 1;
        }
    }
    assert!(ran >= 10, "{ran} commands");
}

fn write_template(place: &Place, model: &str) {
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    place.write(&format!("{model}/chat_template.jinja"), template);
    place.write(&format!("{model}/tokenizer_config.json"), "{\"eos_token\": \"</s>\"}");
}

/// As a shell does that finds the program.
fn run(place: &Place, line: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_wgpu-lora")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = std::process::Command::new("sh")
        .args(["-ec", line])
        .current_dir(place.path(""))
        .env("PATH", format!("{}:{path}", program.display()))
        .env_remove("WGPU_LORA_VARIANT")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{err}");
}
