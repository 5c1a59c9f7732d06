//! The language of chat templates, as transformers renders it (`tests/fixtures/templates/make.py`).

use serde_json::{Value, json};
use wgpu_lora::format::{ChatTemplate, Conversation, Tokenizer};

fn cases() -> Value {
    let path = crate::fixtures().join("templates/cases.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn templates_are_rendered_as_jinja2_renders_them_or_refused_where_it_refuses() {
    let all = cases();
    let messages = all["messages"].as_array().unwrap();
    let date = all["date"].as_str().unwrap().parse().unwrap();
    let (mut rendered, mut refused) = (0, 0);
    for case in all["cases"].as_array().unwrap() {
        let source = case["template"].as_str().unwrap();
        let template = ChatTemplate::new("m", source, "", "");
        let got = template.and_then(|t| t.with_date(date).render(&Conversation::new(messages)));
        match (got, case["text"].as_str()) {
            (Ok(got), Some(expected)) => {
                assert_eq!(got.text, expected, "{source}");
                // transformers counts characters.
                let characters = |at: usize| got.text[..at].chars().count();
                let spans = got.generation.map(|spans| {
                    let span = |s: &std::ops::Range<usize>| {
                        json!([characters(s.start), characters(s.end)])
                    };
                    Value::from(Vec::from_iter(spans.iter().map(span)))
                });
                assert_eq!(spans.unwrap_or(Value::Null), case["generation"], "{source}");
                rendered += 1;
            }
            (Err(_), None) => refused += 1,
            (got, expected) => panic!("{source}: {got:?}, expected {expected:?}"),
        }
    }
    assert!(rendered > 30 && refused > 10, "{rendered} {refused}");
}

#[test]
fn what_a_template_says_names_its_line_and_what_is_not_known_is_named() {
    let render = |source: &str| {
        let messages = [json!({"role": "user", "content": 18446744073709551616.0})];
        let template = ChatTemplate::new("m", source, "", "")?;
        template.render(&Conversation::new(&messages)).map(|rendered| rendered.text)
    };
    let said = |source: &str| render(source).unwrap_err().to_string();
    assert!(said("x").contains("numbers of more than 64 bits"));
    let render = |source: &str| {
        let messages = [json!({"role": "user", "content": ""})];
        let template = ChatTemplate::new("m", source, "", "")?;
        template.render(&Conversation::new(&messages)).map(|rendered| rendered.text)
    };
    let said = |source: &str| render(source).unwrap_err().to_string();
    assert_eq!(
        said("a\n\n{{ raise_exception('no ' + messages[0].role) }}"),
        "m: chat template line 3: no user"
    );
    for (source, named) in [
        ("{{ 'x'|urlize }}", "the filter `urlize`"),
        ("{% block a %}{% endblock %}", "the statement `block`"),
        ("{{ lipsum() }}", "the function `lipsum`"),
        ("{{ 'x'.encode() }}", "`encode` of a text"),
        ("{{ messages|map('upper') }}", "writing a generator"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "steps"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "so deep"),
        ("{{ 'a' * 1000000000 }}", "64 MiB"),
        (
            "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}",
            "deep in each other",
        ),
    ] {
        assert!(said(source).contains(named), "{source}: {}", said(source));
    }
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(said(&deep).contains("nest"));
}

#[test]
fn messages_come_to_a_template_as_transformers_gives_them() {
    let messages = [json!({"role": "assistant", "content": null, "reasoning": "hm", "x": 1})];
    let template = ChatTemplate::new("m", "{{ messages[0] }}{{ tools }}", "", "").unwrap();
    let text = template.render(&Conversation::new(&messages)).unwrap().text;
    let expected = "{'thinking': 'hm', 'role': 'assistant', 'reasoning': 'hm', 'x': 1, 'reasoning_content': 'hm'}None";
    assert_eq!(text, expected);
}

#[test]
fn a_tokenizers_template_is_the_one_for_tools_where_there_are_some_and_knows_all_special_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let messages = [json!({"role": "user", "content": "q"})];
    let tools = [json!({"name": "f"})];
    let texts = || {
        let template = Tokenizer::from_file(folder.path()).unwrap().chat_template().unwrap();
        let plain = Conversation::new(&messages);
        let with_tools = Conversation { tools: Some(&tools), ..plain };
        [plain, with_tools].map(|given| template.render(&given).unwrap().text)
    };
    write("tokenizer.json", &crate::tiny::tokenizer_json());
    let config = json!({
        "bos_token": {"content": "<b>"}, "pad_token": "<p>", "tool_token": "<t>", "eos_token": null,
        "extra_special_tokens": {"im_token": "<i>"},
        "chat_template": [
            {"name": "tool_use", "template": "{{ tools|length }}{{ eos_token is defined }}"},
            {"name": "default", "template": "{{ bos_token ~ pad_token ~ tool_token ~ im_token }}"},
        ],
    });
    write("tokenizer_config.json", &config.to_string());
    assert_eq!(texts(), ["<b><p><t><i>", "1False"]);
    write("chat_template.jinja", "file");
    assert_eq!(texts(), ["file", "file"]);
    write("additional_chat_templates/tool_use.jinja", "tools of a file");
    assert_eq!(texts(), ["file", "tools of a file"]);
}
