//! Evil files by name, and what is said about each: `messages.txt` holds all messages, so that a
//! change of one is seen.
//!
//! `WGPU_LORA_UPDATE=1 cargo test --release --test hostile evil` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use wgpu_lora::data::{for_each_record, for_each_record_in};
use wgpu_lora::format::{
    AdapterConfig, ChatTemplate, Conversation, GgufFile, MemorySource, ModelConfig,
    SafetensorsFile, Tokenizer,
};
use wgpu_lora::{Error, Result};

use crate::{FLOOR, TOKENIZER_FLOOR, alloc};

type Case = (&'static str, Vec<u8>);

fn st(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn one(body: &str) -> Vec<u8> {
    st(&format!("{{{body}}}"), &[0; 8])
}

fn safetensors() -> Vec<Case> {
    vec![
        ("empty", vec![]),
        ("header length 2^60", [&(1u64 << 60).to_le_bytes()[..], b"{}"].concat()),
        ("header longer than the file", [&100u64.to_le_bytes()[..], b"{}"].concat()),
        (
            "overlapping offsets",
            one(
                r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#,
            ),
        ),
        ("a gap", one(r#""a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#)),
        ("offsets backwards", one(r#""a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}"#)),
        (
            "offset 2^62",
            one(r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4611686018427387904]}"#),
        ),
        (
            "shape 2^62 x 4",
            one(r#""a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}"#),
        ),
        ("negative axis", one(r#""a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}"#)),
        ("type unknown", one(r#""a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}"#)),
        (
            "listed twice",
            st(
                r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#,
                &[],
            ),
        ),
        (
            "a million axes",
            one(&format!(
                r#""a":{{"dtype":"F32","shape":[{}0],"data_offsets":[0,0]}}"#,
                "0,".repeat(1_000_000)
            )),
        ),
        ("BOM", st("\u{feff}{}", &[])),
        ("NUL", st("{\"a\0\":1}", &[])),
        ("invalid UTF-8", [&4u64.to_le_bytes()[..], b"{\"\xff\""].concat()),
        (
            "a name of 10 MB",
            one(&format!(
                r#""{}":{{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
                "a".repeat(10 << 20)
            )),
        ),
    ]
}

/// A header with counts, then metadata and table as they are.
fn gg(tensors: u64, metadata: u64, rest: &[&[u8]]) -> Vec<u8> {
    let head = [&b"GGUF"[..], &3u32.to_le_bytes(), &tensors.to_le_bytes(), &metadata.to_le_bytes()];
    [head.concat(), rest.concat()].concat()
}

fn text(s: &[u8]) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s].concat()
}

fn row(name: &str, axes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let axes_bytes: Vec<u8> = axes.iter().flat_map(|a| a.to_le_bytes()).collect();
    [
        &text(name.as_bytes())[..],
        &(axes.len() as u32).to_le_bytes(),
        &axes_bytes,
        &kind.to_le_bytes(),
        &offset.to_le_bytes(),
    ]
    .concat()
}

fn gguf() -> Vec<Case> {
    let number =
        |key: &[u8], n: u32| [&text(key)[..], &4u32.to_le_bytes(), &n.to_le_bytes()].concat();
    let list = |kind: u32, n: u64| {
        [&text(b"k")[..], &9u32.to_le_bytes(), &kind.to_le_bytes(), &n.to_le_bytes(), &[0; 64]]
            .concat()
    };
    let (big, space) = (1u64 << 62, vec![0u8; 4096]);
    vec![
        ("empty", vec![]),
        ("another format", b"PK\x03\x04 and so on".to_vec()),
        ("version 1", [&b"GGUF"[..], &1u32.to_le_bytes(), &[0; 64]].concat()),
        ("2^62 tensors", gg(big, 0, &[])),
        ("2^62 metadata entries", gg(0, big, &[])),
        ("a key of 2^60 bytes", gg(0, 1, &[&(1u64 << 60).to_le_bytes(), &[0; 64]])),
        ("a list of 2^62 numbers", gg(0, 1, &[&list(4, big)])),
        ("a list of 2^62 strings", gg(0, 1, &[&list(8, big)])),
        ("a list of 2^62 lists", gg(0, 1, &[&list(9, big)])),
        ("a list of unknown type", gg(0, 1, &[&list(77, 1)])),
        ("a value of unknown type", gg(0, 1, &[&text(b"key"), &13u32.to_le_bytes(), &[0; 8]])),
        ("truth value 2", gg(0, 1, &[&text(b"key"), &7u32.to_le_bytes(), &[2; 8]])),
        ("a key twice", gg(0, 2, &[&number(b"a.b", 1), &number(b"a.b", 1)])),
        ("invalid UTF-8 in a key", gg(0, 1, &[&text(b"\xff\xfe"), &[0; 16]])),
        ("alignment 0", gg(0, 1, &[&number(b"general.alignment", 0)])),
        ("alignment 3", gg(0, 1, &[&number(b"general.alignment", 3)])),
        ("no axes", gg(1, 0, &[&row("t", &[], 0, 0), &space])),
        ("axes 2^62 x 2^62", gg(1, 0, &[&row("t", &[big, big], 0, 0), &space])),
        ("an axis of 0", gg(1, 0, &[&row("t", &[0], 0, 0), &space])),
        ("half a block", gg(1, 0, &[&row("t", &[33], 2, 0), &space])),
        ("a type that is not read", gg(1, 0, &[&row("t", &[256], 10, 0), &space])),
        ("offset 2^62", gg(1, 0, &[&row("t", &[32], 0, big), &space])),
        ("an odd offset", gg(1, 0, &[&row("t", &[32], 0, 1), &space])),
        (
            "overlapping offsets",
            gg(2, 0, &[&row("t", &[32], 0, 0), &row("u", &[32], 0, 32), &space]),
        ),
        ("a tensor twice", gg(2, 0, &[&row("t", &[8], 0, 0), &row("t", &[8], 0, 32), &space])),
        ("no values", gg(1, 0, &[&row("t", &[1 << 20], 0, 0)])),
    ]
}

const ADAPTER: &str = r#"{"peft_type":"LORA","r":8,"lora_alpha":16,"target_modules":["q_proj"],"rank_pattern":{"a":1}}"#;
const MODEL: &str = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"intermediate_size":96,"vocab_size":128}"#;

/// What can be wrong with any JSON.
fn json(good: &str) -> Vec<Case> {
    vec![
        ("empty", vec![]),
        ("BOM before a good file", format!("\u{feff}{good}").into_bytes()),
        ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (
            "UTF-16 with BOM",
            format!("\u{feff}{good}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("NUL", good.replace(':', ":\0").into_bytes()),
        ("NUL in a string", good.replace("_", "\0").into_bytes()),
        ("invalid UTF-8", [b"{\"\xff\":1,", &good.as_bytes()[1..]].concat()),
        ("no object", b"[1, 2]".to_vec()),
        ("a list in a list in a list", "[".repeat(100_000).into_bytes()),
        ("objects in objects", "{\"a\":".repeat(100_000).into_bytes()),
        ("a line of 10 MB", format!("{{\"x\":\"{}\",\"r\":", "a".repeat(10 << 20)).into_bytes()),
        (
            "a list of 5,000,000 numbers",
            format!("{{\"x\":[{}0],{}", "0,".repeat(5_000_000), &good[1..]).into_bytes(),
        ),
        ("cut in the middle", good.as_bytes()[..good.len() / 2].to_vec()),
    ]
}

fn adapter() -> Vec<Case> {
    let with = |from: &str, to: &str| ADAPTER.replace(from, to).into_bytes();
    let mut cases = json(ADAPTER);
    cases.extend([
        ("rank 0", with("\"r\":8", "\"r\":0")),
        ("rank \"16\"", with("\"r\":8", "\"r\":\"16\"")),
        ("rank -1", with("\"r\":8", "\"r\":-1")),
        ("rank 8.5", with("\"r\":8", "\"r\":8.5")),
        ("rank 2^62", with("\"r\":8", "\"r\":4611686018427387904")),
        ("alpha 1e999", with("\"lora_alpha\":16", "\"lora_alpha\":1e999")),
        ("alpha \"16\"", with("\"lora_alpha\":16", "\"lora_alpha\":\"16\"")),
        ("rank 0 in a pattern", with("\"a\":1", "\"a\":0")),
        ("a pattern that is none", with("\"a\":1", "\"a(\":1")),
        ("a pattern of a million", with("\"a\":1", "\"(a{1000}){1000}\":1")),
        ("modules_to_save", with("\"r\":8", "\"r\":8,\"modules_to_save\":[\"lm_head\"]")),
    ]);
    cases
}

fn model() -> Vec<Case> {
    let with = |from: &str, to: &str| MODEL.replace(from, to).into_bytes();
    let mut cases = json(MODEL);
    cases.extend([
        ("hidden_size 0", with("\"hidden_size\":64", "\"hidden_size\":0")),
        ("hidden_size \"64\"", with("\"hidden_size\":64", "\"hidden_size\":\"64\"")),
        ("hidden_size 2^62", with("\"hidden_size\":64", "\"hidden_size\":4611686018427387904")),
        ("3 heads of 64", with("\"num_attention_heads\":4", "\"num_attention_heads\":3")),
        ("another architecture", with("LlamaForCausalLM", "MambaForCausalLM")),
        (
            "a token beyond the vocabulary",
            with("\"vocab_size\":128", "\"vocab_size\":128,\"eos_token_id\":128"),
        ),
    ]);
    cases
}

fn tokenizer() -> Vec<Case> {
    let good = r#"{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}"#;
    let mut cases = json(good);
    cases.extend([
        (
            "a merge outside of the vocabulary",
            good.replace("\"merges\":[]", "\"merges\":[[\"a\",\"c\"]]").into_bytes(),
        ),
        ("an id of 2^62", good.replace("\"b\":1", "\"b\":4611686018427387904").into_bytes()),
        ("another model", good.replace("BPE", "XYZ").into_bytes()),
    ]);
    cases
}

fn template() -> Vec<Case> {
    let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    vec![
        ("not Jinja", b"a\n{% if %}".to_vec()),
        ("a tag that does not end", b"{%}".to_vec()),
        ("invalid UTF-8", b"\xff".to_vec()),
        ("no end", endless.into()),
        ("itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into()),
        ("2^62 letters", "{{ 'a' * 4611686018427387904 }}".into()),
        ("10^9 letters", "{{ 'a' * 1000000000 }}".into()),
        ("10^9 numbers", "{{ range(1000000000) | list }}".into()),
        (
            "brackets",
            "{{ ".to_owned().into_bytes().into_iter().chain(vec![b'('; 1 << 20]).collect(),
        ),
        ("what the template raises", "{{ raise_exception('roles must alternate') }}".into()),
    ]
}

fn jsonl() -> Vec<Case> {
    vec![
        ("empty", vec![]),
        ("BOM", "\u{feff}{\"text\":\"a\"}\n".into()),
        ("NUL", b"{\"text\":\"a\"}\n{\"text\":\"\0\"}\n".to_vec()),
        ("invalid UTF-8", b"{\"text\":\"a\"}\n{\"text\":\"\xff\"}\n".to_vec()),
        ("a number", b"{\"text\":\"a\"}\n16\n".to_vec()),
        (
            "a line of 10 MB",
            format!("{{\"text\":\"a\"}}\n{{\"text\":\"{}\"}}\n", "a".repeat(10 << 20)).into_bytes(),
        ),
        (
            "a line of 10 MB that does not end",
            format!("{{\"text\":\"{}", "a".repeat(10 << 20)).into_bytes(),
        ),
        ("a line of 10 MB of brackets", "[".repeat(10 << 20).into_bytes()),
        (
            "a line of 10 MB of numbers",
            format!("{{\"text\":[{}0]}}\n", "0,".repeat(5 << 20)).into_bytes(),
        ),
        (
            "a line of 10 MB of empty messages",
            format!("{{\"messages\":[{}{{}}]}}\n", "{},".repeat(3 << 20)).into_bytes(),
        ),
    ]
}

fn csv() -> Vec<Case> {
    vec![
        ("empty", vec![]),
        ("a quote that does not end", b"a,b\n1,\"2\n3,4\n".to_vec()),
        ("more fields than the header", b"a,b\n1,2\n1,2,3\n".to_vec()),
        ("a column twice", b"a,a\n1,2\n".to_vec()),
        ("NUL", b"a,b\n1,\0\n".to_vec()),
        ("invalid UTF-8", b"a,b\n1,2\n1,\xff\n".to_vec()),
        ("a field of 10 MB", format!("a\n{}\n", "x".repeat(10 << 20)).into_bytes()),
        ("a line of 10 MB of commas", format!("a\n{}\n", ",".repeat(10 << 20)).into_bytes()),
        ("a header of 10 MB of commas", format!("{}\na\n", ",".repeat(10 << 20)).into_bytes()),
    ]
}

fn parquet() -> Vec<Case> {
    vec![
        ("nothing but the magic", b"PAR1".to_vec()),
        (
            "a footer of 2^31",
            [&b"PAR1"[..], &[0; 32], &0x7fff_ffffu32.to_le_bytes(), b"PAR1"].concat(),
        ),
        ("a footer of zeros", [&b"PAR1"[..], &[0; 32], &8u32.to_le_bytes(), b"PAR1"].concat()),
        ("cut", [&b"PAR1"[..], &[7; 100]].concat()),
    ]
}

fn said<T>(result: Result<T>) -> String {
    result.map_or_else(|e| e.to_string(), |_| "(read)".into())
}

fn all() -> String {
    let mut text = String::new();
    let mut section = |name: &str,
                       cases: Vec<Case>,
                       floor: usize,
                       read: &dyn Fn(Vec<u8>) -> String| {
        for (case, bytes) in cases {
            let length = bytes.len();
            let (message, largest) = alloc::largest(|| read(bytes));
            assert!(!message.contains("panicked"), "{name}, {case}: {message}");
            assert!(message.len() < 600, "{name}, {case}: a message of {} bytes", message.len());
            assert!(
                largest <= 4 * length + floor,
                "{name}, {case}: an allocation of {largest} bytes for a file of {length}"
            );
            writeln!(text, "{name}, {case}\n    {message}").unwrap();
        }
    };
    section("safetensors", safetensors(), FLOOR, &|bytes| {
        said(SafetensorsFile::open(Box::new(MemorySource::new("x.safetensors", bytes))))
    });
    section("gguf", gguf(), FLOOR, &|bytes| {
        said(GgufFile::open(Box::new(MemorySource::new("x.gguf", bytes))))
    });
    section("adapter_config.json", adapter(), FLOOR, &|bytes| {
        said(AdapterConfig::from_json("adapter_config.json", &bytes))
    });
    section("config.json", model(), FLOOR, &|bytes| {
        said(ModelConfig::from_json("config.json", &bytes))
    });
    section("tokenizer.json", tokenizer(), TOKENIZER_FLOOR, &|bytes| {
        said(Tokenizer::from_bytes("tokenizer.json", &bytes))
    });
    section("chat_template.jinja", template(), FLOOR, &|bytes| {
        let message = serde_json::json!({"role": "user", "content": "a"});
        let template = String::from_utf8(bytes).map_err(|e| Error::format("x.jinja", "content", e));
        let template = template.and_then(|text| ChatTemplate::new("x.jinja", &text, "", ""));
        let said_to = |template: ChatTemplate| {
            let messages = &[message];
            template.render(&Conversation::new(messages).with_generation_prompt())
        };
        said(template.and_then(said_to))
    });
    section("jsonl", jsonl(), FLOOR, &|bytes| {
        said(for_each_record_in("x.jsonl", &bytes[..], |_, _| Ok(())))
    });
    section("csv", csv(), FLOOR, &|bytes| {
        said(for_each_record_in("x.csv", &bytes[..], |_, _| Ok(())))
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    section("parquet", parquet(), FLOOR, &|bytes| {
        std::fs::write(&path, bytes).unwrap();
        let text = said(for_each_record(&path, |_, _| Ok(())));
        text.replace(&path.display().to_string(), "x.parquet")
    });
    text
}

#[test]
fn evil_files_are_refused_in_words() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/messages.txt");
    let got = all();
    if std::env::var_os("WGPU_LORA_UPDATE").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    for (i, (got, want)) in got.lines().zip(want.lines()).enumerate() {
        assert_eq!(got, want, "line {} of messages.txt", i + 1);
    }
    assert_eq!(got.lines().count(), want.lines().count());
}
