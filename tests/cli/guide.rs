//! Every command of docs/guide.md, in its order, on the tiny model.

use std::path::Path;

use crate::program::{Place, rows};

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
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    place.write("model/chat_template.jinja", template);
    place.write("model/tokenizer_config.json", "{\"eos_token\": \"</s>\"}");
    let program = Path::new(env!("CARGO_BIN_EXE_wgpu-lora")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut ran = 0;
    for block in guide.split("```sh\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            assert!(line.starts_with("wgpu-lora "), "not a command: {line}");
            let output = std::process::Command::new("sh")
                .args(["-ec", line])
                .current_dir(place.path(""))
                .env("PATH", format!("{}:{path}", program.display()))
                .env_remove("WGPU_LORA_VARIANT")
                .output()
                .unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}\n{err}");
            ran += 1;
        }
    }
    assert!(ran >= 20, "{ran} commands");
    for image in guide.split("](images/").skip(1) {
        let name = image.split(')').next().unwrap();
        assert!(root.join("docs/images").join(name).is_file(), "{name}");
    }
}

/// The README's commands name models that are not here: each is one that the program understands.
#[test]
fn every_command_of_the_readme_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap().replace("\\\n", "");
    let place = Place::new();
    let mut seen = 0;
    for block in readme.split("```sh\n").skip(1) {
        let lines = block.split("```").next().unwrap().lines();
        for line in lines.filter(|line| line.starts_with("wgpu-lora ")) {
            let line = line.split(" #").next().unwrap();
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            // A description in quotes is one word.
            let (words, quoted) = match words.iter().position(|word| word.starts_with('"')) {
                Some(at) => (&words[..at], &["text"][..]),
                None => (&words[..], &[][..]),
            };
            let done = place.run(&[words, quoted, &["--help"]].concat());
            assert_eq!(done.code, Some(0), "{line}\n{}", done.err);
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} commands");
}
