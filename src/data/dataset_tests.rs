use super::*;
use crate::format::{ChatTemplate, Offsets};

/// Bytes as ids, BOS 256, EOS 257; "ab" is one token (300), so that prompts can end inside one.
struct Bytes;
impl Encode for Bytes {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = vec![256];
        for b in text.bytes() {
            match (ids.last(), b) {
                (Some(&97), b'b') => *ids.last_mut().unwrap() = 300,
                (_, b'\x03') => ids.push(257),
                _ => ids.push(u32::from(b)),
            }
        }
        Ok(ids)
    }
    fn eos(&self) -> Option<u32> {
        Some(257)
    }
}

fn load(text: &str, max_length: usize, loss: LossOn) -> Result<Dataset> {
    {
        let options = DatasetOptions { max_length, loss, ..DatasetOptions::default() };
        Dataset::from_text("d.jsonl", text.as_bytes(), &Bytes, &options)
    }
}

fn message(text: &[u8]) -> String {
    Dataset::from_text("d.jsonl", text, &Bytes, &DatasetOptions::default()).unwrap_err().to_string()
}

const PC: &str = r#"{"prompt":"xy","completion":"z"}"#;

#[test]
fn prompt_completion_masks_the_prompt_and_ends_in_eos() {
    let d = load(PC, 128, LossOn::Completion).unwrap();
    let row = d.row(0).unwrap();
    assert_eq!(row.ids, [256, 120, 121, 122, 257]);
    assert_eq!((row.spans[0].0, row.targets(), row.row), (3, 2, 0));
    let all = load(PC, 128, LossOn::All).unwrap();
    assert_eq!((all.row(0).unwrap().spans[0].0, all.row(0).unwrap().targets()), (0, 4));
    assert_ne!(d.fingerprint(), all.fingerprint());
    assert_eq!(d.fingerprint(), load(PC, 128, LossOn::Completion).unwrap().fingerprint());
    assert!(d.row(1).is_err());
}

#[test]
fn text_rows_train_on_everything_and_kinds_may_mix() {
    let d = load(
        &format!("\u{feff}{{\"text\":\"xyz\", \"id\": 7}}\r\n\n{PC}"),
        128,
        LossOn::Completion,
    )
    .unwrap();
    assert_eq!(d.len(), 2);
    assert_eq!(d.row(0).unwrap().ids, [256, 120, 121, 122, 257]);
    assert_eq!((d.row(0).unwrap().spans[0].0, d.row(0).unwrap().targets()), (0, 4));
    assert_eq!((d.origin(0), d.origin(1)), ("d.jsonl:1".into(), "d.jsonl:3".into()));
    assert_eq!(d.report().target_tokens, 6);
    assert_eq!(d.lengths(), [5, 5]);
    assert_eq!(d.largest_id(), Some((257, 0)));
}

#[test]
fn eos_is_not_doubled_but_an_empty_completion_still_gets_one() {
    let d = load("{\"prompt\":\"x\",\"completion\":\"y\\u0003\"}\n{\"prompt\":\"x\\u0003\",\"completion\":\"\"}", 128, LossOn::Completion).unwrap();
    assert_eq!(d.row(0).unwrap().ids, [256, 120, 121, 257]);
    assert_eq!(d.row(1).unwrap().ids, [256, 120, 257, 257]);
    assert_eq!(d.row(1).unwrap().targets(), 1);
}

#[test]
fn targets_begin_at_the_first_token_that_the_prompt_does_not_have() {
    let d = load("{\"prompt\":\"xa\",\"completion\":\"bz\"}", 128, LossOn::Completion).unwrap();
    assert_eq!(d.row(0).unwrap().ids, [256, 120, 300, 122, 257]);
    assert_eq!(d.row(0).unwrap().spans, [(2, 5)]);
    assert_eq!(d.report().rows_prompt_mismatch, 1);
    assert_eq!(load(PC, 128, LossOn::Completion).unwrap().report().rows_prompt_mismatch, 0);
}

#[test]
fn long_rows_are_cut_and_rows_without_targets_dropped() {
    let text = format!(
        "{PC}\n{}\n{}",
        r#"{"prompt":"abcdefgh","completion":"i"}"#, r#"{"prompt":"","completion":"qrstuv"}"#
    );
    let d = load(&text, 4, LossOn::Completion).unwrap();
    let r = d.report();
    assert_eq!(
        (r.rows_read, r.rows_kept, r.rows_cut, r.rows_without_target, r.longest),
        (3, 2, 3, 1, 10)
    );
    // The third row is cut within its answer, the second before it: both lose its end, as the first
    // does its EOS.
    assert_eq!(r.rows_answer_cut, 3);
    assert_eq!(d.row(0).unwrap().ids, [256, 120, 121, 122]);
    assert_eq!(d.row(0).unwrap().targets(), 1);
    assert_eq!(d.origin(1), "d.jsonl:3");
    assert_eq!(d.row(1).unwrap().ids.len(), 4);
    let none = load(PC, 3, LossOn::Completion).unwrap_err().to_string();
    assert!(none.contains("none of the 1 rows") && none.contains("5 tokens"), "{none}");
}

#[test]
fn bad_rows_name_file_line_and_keys() {
    for (text, parts) in [
        (
            &b"{\"text\":\"a\"}\n{\"question\":\"a\",\"answer\":1}"[..],
            &["d.jsonl", "line 2", "question", "answer", "\"prompt\""][..],
        ),
        (b"{\"prompt\":\"a\"}", &["line 1", "[prompt]"]),
        (
            b"{\"prompt\":\"a\",\"completion\":\"b\",\"text\":\"c\"}",
            &["line 1", "prompt and completion, or text; choose one with ‹map›"],
        ),
        (
            b"{\"prompt\":\"a\",\"completion\":12.5}",
            &["line 1", "`completion` must be a string", "12.5"],
        ),
        (b"{\"prompt\":[{\"role\":\"user\"}],\"completion\":\"\"}", &["messages"]),
        (b"[{\"text\":\"a\"}, {\"txt\":\"a\"}]", &["line 2", "[txt]"]),
        (b"{\"text\":\"a\"", &["line 1", "not valid JSON"]),
        (b"{\"text\":\"a\"}\n{\"text\":\"\xff\"}", &["line 2", "UTF-8"]),
        (b"\xff\xfe{\0", &["UTF-16"]),
        (b"3", &["no JSON object"]),
        (b"", &["d.jsonl", "no rows"]),
        (b"\n \n", &["no rows"]),
    ] {
        let message = message(text);
        for part in parts {
            assert!(message.contains(part), "{part:?} not in {message:?}");
        }
    }
}

#[test]
fn files_are_read_in_order_and_missing_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a.jsonl", "b.jsonl"].map(|n| dir.path().join(n));
    std::fs::write(&paths[0], PC).unwrap();
    std::fs::write(&paths[1], "{\"text\":\"q\"}\n").unwrap();
    let d = Dataset::open(&paths, &Bytes, &DatasetOptions::default()).unwrap();
    assert_eq!(d.len(), 2);
    assert!(d.origin(1).ends_with("b.jsonl:1"));
    let missing = dir.path().join("none.jsonl");
    let message =
        Dataset::open(&[missing], &Bytes, &DatasetOptions::default()).unwrap_err().to_string();
    assert!(message.contains("none.jsonl"), "{message}");
    let no_paths: [&str; 0] = [];
    assert!(Dataset::open(&no_paths, &Bytes, &DatasetOptions::default()).is_err());
}

/// Bytes as ids, EOS `$`, with a chat template.
struct Chatty(&'static str);
impl Encode for Chatty {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(text.bytes().map(u32::from).collect())
    }
    fn eos(&self) -> Option<u32> {
        Some(36)
    }
    fn encode_with_offsets(&self, text: &str) -> Result<Offsets> {
        Ok((self.encode(text)?, (0..text.len()).map(|i| (i, i + 1)).collect()))
    }
    fn chat_template(&self) -> Result<ChatTemplate> {
        ChatTemplate::new("chatty", self.0, "^", "$")
    }
}

const TURNS: &str = "{{ bos_token }}{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{{ eos_token }}\n\n{% endfor %}{% if add_generation_prompt %}<a>{% endif %}";

/// The first row of `jsonl` through a template, and its targets, `.` for what is none.
fn said(template: &'static str, jsonl: &str, loss: LossOn) -> Result<[String; 2]> {
    let options = DatasetOptions { loss, ..DatasetOptions::default() };
    let row = Dataset::from_text("d", jsonl.as_bytes(), &Chatty(template), &options)?.row(0)?;
    let is = |i: usize| row.spans.iter().any(|s| (s.0 as usize..s.1 as usize).contains(&i));
    let shown = |all: bool| {
        let ids = row.ids.iter().enumerate();
        ids.map(|(i, &id)| if all || is(i) { char::from(id as u8) } else { '.' }).collect()
    };
    Ok([shown(true), shown(false)])
}

/// What is said of a row that is refused.
fn refusal(template: &'static str, jsonl: &str) -> String {
    said(template, jsonl, LossOn::Completion).unwrap_err().to_string()
}

#[test]
fn what_the_template_writes_for_a_turn_counts_whatever_it_says() {
    let completion = |template, jsonl| said(template, jsonl, LossOn::Completion).unwrap();
    // A thought that the question opens and the conversation does not have (shared fault 15).
    let think = "{% for m in messages %}{% if m.role == 'user' %}<U>{{ m.content }}{% else %}<A>{{ m.content.split('</think>')[-1] }}${% endif %}{% endfor %}{% if add_generation_prompt %}<A><think>\n{% endif %}";
    let row = r#"{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}"#;
    assert_eq!(completion(think, row), ["<U>2+2?<A>4$", "..........4$"]);
    assert_eq!(said(think, row, LossOn::All).unwrap(), ["<U>2+2?<A>4$"; 2]);
    // Marks, where there are any.
    let marks = "{% for m in messages %}<{{ m.role[0] }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}${% endfor %}";
    assert_eq!(completion(marks, row), ["<u>2+2?$<a>4$", "...........4."]);
    assert!(
        refusal(marks, r#"{"messages": [{"role": "user", "content": "q"}]}"#).contains("no token")
    );
    // A turn that ends in its words ends in what is written behind them.
    let line = "{% for m in messages %}{{ m.role[0] }}: {{ m.content }}\n\n{% endfor %}{% if add_generation_prompt %}a: {% endif %}";
    assert_eq!(completion(line, row), ["u: 2+2?\n\na: 4\n\n", "............4\n\n"]);
    // Thoughts of turns that are not the last are left out; their end is that which ends them.
    let last = "{% for m in messages %}<{{ m.role[0] }}>{% if loop.last and m.role == 'assistant' %}<t>{% endif %}{{ m.content }}$\n{% endfor %}{% if add_generation_prompt %}<a>{% endif %}";
    let turns = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}, {"role": "user", "content": "r"}, {"role": "assistant", "content": "y"}]}"#;
    let text = "<u>q$\n<a>x$\n<u>r$\n<a><t>y$\n";
    assert_eq!(completion(last, turns), [text, ".........x$..........<t>y$."]);
    // Of a prompt and a completion, all that is behind the prompt, as TRL.
    let pair = r#"{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}"#;
    assert_eq!(completion(TURNS, pair), ["^<u>q$\n\n<a>a$\n\n", "...........a$\n\n"]);
    // A weight of 0 takes a turn out, whatever counts otherwise.
    let muted = turns.replace(r#""content": "x""#, r#""content": "x", "weight": 0"#);
    assert_eq!(completion(last, &muted)[1], ".....................<t>y$.");
    assert_eq!(said(last, &muted, LossOn::All).unwrap()[1], "<u>q$\n<a>..\n<u>r$\n<a><t>y$\n");
    let heavy = turns.replace(r#""content": "x""#, r#""content": "x", "weight": 0.5"#);
    assert!(refusal(last, &heavy).contains("message 2 has a `weight` of 0.5"));
}

#[test]
fn rows_say_what_does_not_end_and_what_is_not_read() {
    struct Endless;
    impl Encode for Endless {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            Bytes.encode(text)
        }
        fn eos(&self) -> Option<u32> {
            None
        }
        fn begins_twice(&self, ids: &[u32]) -> bool {
            ids.starts_with(&[256, 63])
        }
    }
    let rows = "{\"prompt\": \"x\", \"completion\": \"y\", \"source\": 1, \"tools\": \"[]\"}\n{\"text\": \"?\", \"id\": null}";
    let d = Dataset::from_text("d", rows.as_bytes(), &Endless, &DatasetOptions::default()).unwrap();
    assert_eq!((d.report().rows_without_eos, d.report().rows_bos_twice), (2, 1));
    assert_eq!(Vec::from_iter(d.unread_columns()), ["source", "tools"]);
    assert_eq!(d.row(0).unwrap().ids, [256, 120, 121]);
    // A tokenizer that closes texts itself.
    struct Closing(Option<u32>);
    impl Encode for Closing {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            Bytes.encode(text)
        }
        fn encode_open(&self, text: &str) -> Result<(Vec<u32>, Vec<u32>)> {
            Ok((self.encode(text)?, vec![257]))
        }
        fn eos(&self) -> Option<u32> {
            self.0
        }
    }
    for (eos, expected) in [(None, &[257][..]), (Some(257), &[257]), (Some(9), &[9, 257])] {
        let options = DatasetOptions::default();
        let d = Dataset::from_text("d", PC.as_bytes(), &Closing(eos), &options).unwrap();
        assert_eq!(d.row(0).unwrap().ids, [&[256, 120, 121, 122], expected].concat());
        assert_eq!(d.report().rows_without_eos, 0);
    }
}

#[test]
fn chats_are_rendered_and_only_the_assistant_is_a_target() {
    let row = r#"{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yo"}, {"role": "user", "content": "?"},
        {"role": "assistant", "content": "!"}]}"#;
    let row = row.replace('\n', "");
    let text = |d: &Dataset, keep: bool| -> String {
        let row = d.row(0).unwrap();
        let is = |i: usize| row.spans.iter().any(|s| (s.0 as usize..s.1 as usize).contains(&i));
        let ids = row.ids.iter().enumerate();
        ids.map(|(i, &id)| if keep || is(i) { char::from(id as u8) } else { '.' }).collect()
    };
    let options = DatasetOptions::default();
    let d = Dataset::from_text("d", row.as_bytes(), &Chatty(TURNS), &options).unwrap();
    assert_eq!(text(&d, true), "^<s>S$\n\n<u>hi$\n\n<a>yo$\n\n<u>?$\n\n<a>!$\n\n");
    assert_eq!(text(&d, false), "...................yo$............!$..");
    assert_eq!(d.report().target_tokens, 5);
    let batch = crate::data::Batch::new(&d, &[0]).unwrap();
    assert_eq!(batch.targets.len(), 5);
    let all = DatasetOptions { loss: LossOn::All, ..DatasetOptions::default() };
    let all = Dataset::from_text("d", row.as_bytes(), &Chatty(TURNS), &all).unwrap();
    assert_eq!(all.report().target_tokens, all.report().tokens - 1);
    assert_ne!(all.fingerprint(), d.fingerprint());
    // A template that always asks for the next words, as Llama 3's first one.
    let asks =
        "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{{ eos_token }}{% endfor %}<a>";
    let asking = Dataset::from_text("d", row.as_bytes(), &Chatty(asks), &options).unwrap();
    assert_eq!(text(&asking, true), "<s>S$<u>hi$<a>yo$<u>?$<a>!$<a>");
    assert_eq!(text(&asking, false), "..............yo$........!$...");
    // Cut within the second answer.
    let short = DatasetOptions { max_length: 21, ..DatasetOptions::default() };
    let short = Dataset::from_text("d", row.as_bytes(), &Chatty(TURNS), &short).unwrap();
    assert_eq!(short.row(0).unwrap().spans, [(19, 21)]);
    // A template that drops earlier answers, and a tokenizer without one.
    let last = "{% for m in messages %}{% if loop.last or m.role == 'user' %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let why = Dataset::from_text("d", row.as_bytes(), &Chatty(last), &options).unwrap_err();
    assert!(why.to_string().contains("d: line 1: messages: this chat template"), "{why}");
    let why = Dataset::from_text("d", row.as_bytes(), &Bytes, &options).unwrap_err();
    assert!(why.to_string().contains("give prompt and completion"), "{why}");
}

#[test]
fn held_out_rows_are_a_share_that_the_seed_chooses() {
    let text: String = (0..20).map(|i| format!("{{\"text\": \"row {i:02}\"}}\n")).collect();
    let options = DatasetOptions::default();
    let all = || Dataset::from_text("f", text.as_bytes(), &Bytes, &options).unwrap();
    let ids = |d: &Dataset| d.rows().map(|row| row.unwrap().ids).collect::<Vec<_>>();
    let (training, held_out) = all().split(0.1, 7).unwrap();
    assert_eq!((training.len(), held_out.len()), (18, 2));
    let mut both = [ids(&training), ids(&held_out)].concat();
    both.sort();
    assert_eq!(both, ids(&all()));
    // In the files' order, with the files' lines, and counted.
    assert!(ids(&training).is_sorted() && held_out.origin(0).starts_with("f:"));
    assert_eq!(training.report().tokens, training.lengths().iter().sum::<u32>() as usize);
    assert_eq!(training.row_format(), all().row_format());
    assert_eq!(all().split(0.1, 7).unwrap().0.fingerprint(), training.fingerprint());
    assert_ne!(ids(&all().split(0.1, 8).unwrap().1), ids(&held_out));
    assert_eq!(all().split(1e-6, 7).unwrap().1.len(), 1);
    assert_eq!(all().split(0.999_999, 7).unwrap().0.len(), 1);
    for share in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(all().split(share, 7).unwrap_err().to_string().contains("between 0 and 1"));
    }
    let one = Dataset::from_text("f", b"{\"text\": \"a\"}", &Bytes, &options).unwrap();
    assert!(one.split(0.5, 7).unwrap_err().to_string().contains("two rows"));
}
