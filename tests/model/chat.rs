//! Conversations whose keys and values stay.

use serde_json::json;
use wgpu_lora::format::{RowFormat, Tokenizer, TrainingNote};
use wgpu_lora::generate::{ChatSession, Finish, GenerateOptions, PromptFormat};
use wgpu_lora::model::{Model, Quant};

use crate::setup::*;

const TEMPLATE: &str = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}</s>{% endfor %}\
                        {% if add_generation_prompt %}a:{% endif %}";

fn tokenizer() -> Tokenizer {
    let mut tokenizer =
        Tokenizer::from_bytes("tiny", crate::tiny::tokenizer_json().as_bytes()).unwrap();
    tokenizer.set_chat_template("tiny", TEMPLATE.into());
    tokenizer
}

/// `tiny_a` with two adapters that answer otherwise than it, each in its own way.
fn model() -> Model {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::Nf4);
    for (name, rank) in [("small", 2), ("large", 9)] {
        block_on(model.add_fresh_adapter(name, &adapter(rank, &[]), 4)).unwrap();
        let mut file = block_on(model.adapter().unwrap().to_file(&gpu)).unwrap();
        for (key, (_, values)) in &mut file.tensors {
            if key.contains("lora_B") {
                values.fill(0.01 * rank as f32);
            }
        }
        block_on(model.add_adapter(name, &file)).unwrap();
    }
    model.set_adapter(None).unwrap();
    model
}

/// What a turn said, how many tokens it computed, and how many turns were forgotten.
#[derive(Debug, PartialEq)]
struct Said {
    ids: Vec<u32>,
    text: String,
    computed: usize,
    dropped: usize,
}

fn ask(session: &mut ChatSession, model: &Model, text: &str, most: usize) -> Said {
    let tokenizer = tokenizer();
    let options = GenerateOptions { max_new_tokens: most, ..Default::default() };
    let mut turn = session.ask(model, &tokenizer, text, options).unwrap();
    while block_on(turn.next()).unwrap().is_some() {}
    assert!(turn.finish().is_some());
    Said {
        ids: turn.ids().to_vec(),
        text: turn.text().to_owned(),
        computed: turn.computed_tokens(),
        dropped: turn.turns_dropped(),
    }
}

/// The same message after the same history, in a session that holds nothing.
fn fresh(session: &ChatSession, model: &Model, text: &str, most: usize) -> Said {
    let mut fresh = ChatSession::new(model, &tokenizer()).unwrap();
    fresh.set_system(session.system().map(str::to_owned));
    fresh.set_messages(session.messages().to_vec());
    ask(&mut fresh, model, text, most)
}

#[test]
fn a_turn_computes_what_is_new_and_answers_as_a_fresh_session() {
    let model = model();
    let mut session = ChatSession::new(&model, &tokenizer()).unwrap();
    let first = ask(&mut session, &model, "hi", 3);
    assert_eq!((first.computed, first.dropped), ("u:hi".len() + 1 + "a:".len(), 0));
    assert_eq!(session.messages().len(), 2);
    assert_eq!(session.messages()[1], json!({"role": "assistant", "content": first.text}));
    let expected = fresh(&session, &model, "more", 3);
    let second = ask(&mut session, &model, "more", 3);
    assert_eq!(second.ids, expected.ids);
    // Of the first turn at most its answer is run again, where its text has other tokens.
    assert!(second.computed <= expected.computed - first.computed, "{second:?} {expected:?}");
}

#[test]
fn another_adapter_or_system_prompt_computes_the_history_anew() {
    let mut model = model();
    let mut session = ChatSession::new(&model, &tokenizer()).unwrap();
    ask(&mut session, &model, "hi", 3);
    let mut answers = Vec::new();
    for name in [Some("small"), Some("large"), None] {
        model.set_adapter(name).unwrap();
        let expected = fresh(&session, &model, "x", 3);
        let said = ask(&mut session, &model, "x", 3);
        assert_eq!(said, expected, "{name:?}");
        answers.push(said.ids);
    }
    assert!(answers[0] != answers[1] && answers[1] != answers[2], "{answers:?}");
    // As strong as before, it has been another adapter in between.
    block_on(model.set_adapter_scale("large", 0.5)).unwrap();
    assert_eq!(fresh(&session, &model, "y", 2), ask(&mut session, &model, "y", 2));
    session.set_system(Some("be".into()));
    let expected = fresh(&session, &model, "z", 2);
    assert_eq!(ask(&mut session, &model, "z", 2), expected);
    session.reset();
    let again = ask(&mut session, &model, "hi", 2);
    assert_eq!(
        again.computed,
        "s:be".len() + 1 + "u:hi".len() + 1 + "a:".len() - "s:be".len() - 1 - "u:".len()
    );
}

#[test]
fn the_oldest_turns_go_when_positions_run_out() {
    let model = model();
    let mut session = ChatSession::new(&model, &tokenizer()).unwrap();
    session.set_system(Some("s".into()));
    let mut dropped = 0;
    for i in 0..6 {
        let said = ask(&mut session, &model, &format!("message {i}"), 8);
        dropped += said.dropped;
        assert_eq!(session.messages().len(), 2 * (i + 1 - dropped));
    }
    assert!(dropped >= 3, "{dropped} in {} positions", model.max_positions());
    assert_eq!(session.messages()[0]["role"], "user");
    // One that fills everything has what is left; one that is longer is refused, and is not said.
    let room = model.max_positions() - "s:s".len() - 1 - "u:".len() - 1 - "a:".len();
    let said = ask(&mut session, &model, &"x".repeat(room - 2), 8);
    assert!(said.ids.len() <= 2 && session.messages().len() == 2, "{said:?}");
    let before = session.messages().to_vec();
    let tokenizer = tokenizer();
    let refused = session.ask(&model, &tokenizer, &"x".repeat(room), GenerateOptions::default());
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("shorten") && why.contains(&model.max_positions().to_string()), "{why}");
    assert!(before.starts_with(session.messages()), "{:?}", session.messages());
}

#[test]
fn an_answer_that_is_stopped_is_part_of_the_conversation_if_it_has_begun() {
    let model = model();
    let tokenizer = tokenizer();
    let mut session = ChatSession::new(&model, &tokenizer).unwrap();
    let options = || GenerateOptions { max_new_tokens: 6, ..Default::default() };
    drop(session.ask(&model, &tokenizer, "hi", options()).unwrap());
    assert!(session.messages().is_empty());
    let mut turn = session.ask(&model, &tokenizer, "hi", options()).unwrap();
    while turn.text().is_empty() {
        assert!(block_on(turn.next()).unwrap().is_some());
    }
    assert_eq!(turn.finish(), None::<Finish>);
    let said = turn.text().to_owned();
    drop(turn);
    assert_eq!(session.messages()[1]["content"], said);
    let expected = fresh(&session, &model, "go on", 3);
    assert_eq!(ask(&mut session, &model, "go on", 3).ids, expected.ids);
}

#[test]
fn notes_say_how_to_ask() {
    let note = |rows| TrainingNote { rows: Some(rows) };
    let with = tokenizer();
    let without = Tokenizer::from_bytes("tiny", crate::tiny::tokenizer_json().as_bytes()).unwrap();
    for (note, tokenizer, format) in [
        (Some(note(RowFormat::Messages)), &without, PromptFormat::Chat),
        (Some(note(RowFormat::PromptCompletion)), &with, PromptFormat::Text),
        (Some(note(RowFormat::Text)), &with, PromptFormat::Text),
        (Some(TrainingNote::default()), &with, PromptFormat::Chat),
        (None, &with, PromptFormat::Chat),
        (None, &without, PromptFormat::Text),
    ] {
        assert_eq!(PromptFormat::of(note.as_ref(), tokenizer), format, "{note:?}");
    }
    let why = ChatSession::new(&model(), &without).err().unwrap().to_string();
    assert!(why.contains("chat template"), "{why}");
}
