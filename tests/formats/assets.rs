//! The model, tokenizer and data set of `assets/` are what their cards say.

use std::collections::HashSet;

use wgpu_lora::format::{Checkpoint, ModelConfig, Special, Tokenizer};

use super::*;

fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

#[test]
fn every_number_below_a_thousand_is_one_token() {
    let t = Tokenizer::from_file(assets("model")).unwrap();
    let dollar = t.encode("$", Special::Without).unwrap();
    for n in 0..1000 {
        let ids = t.encode(&format!("${n}"), Special::Without).unwrap();
        assert_eq!(ids.len(), 2, "{n}: {ids:?}");
        assert_eq!(
            (ids[0], t.decode(&ids[1..], Special::With).unwrap()),
            (dollar[0], n.to_string())
        );
    }
    // As in Llama 3: groups of three from the left; the first token of a text is <|begin_of_text|>.
    let tokens = |text: &str| -> Vec<String> {
        let ids = t.encode(text, Special::With).unwrap();
        ids.iter().map(|&id| t.id_to_token(id).unwrap()).collect()
    };
    assert_eq!(tokens("1234.50"), ["<|begin_of_text|>", "123", "4", ".", "50"]);
    let odd = "Grüße, 🙂 — 0.31\r\n\tx";
    assert_eq!(t.decode(&t.encode(odd, Special::With).unwrap(), Special::Without).unwrap(), odd);
}

#[test]
fn the_model_is_small_and_its_parts_agree() {
    let config = ModelConfig::from_dir(assets("model")).unwrap();
    let t = Tokenizer::from_file(assets("model")).unwrap();
    assert_eq!(config.vocab_size, t.vocab_size());
    assert_eq!(config.bos_token_id, t.bos_id());
    assert_eq!(config.eos_token_ids.first().copied(), t.eos_id());
    assert!(std::fs::metadata(assets("model/model.safetensors")).unwrap().len() <= 6_000_000);
    let checkpoint = Checkpoint::open(assets("model")).unwrap();
    drop(checkpoint);
}

#[test]
fn no_two_stones_have_one_text_and_every_price_is_one_token() {
    let text = std::fs::read_to_string(assets("diamonds/diamonds.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("title,category,brand,description,details,price"));
    let rows: Vec<&str> = lines.collect();
    let titles: HashSet<&str> = rows.iter().map(|row| row.split('"').nth(1).unwrap()).collect();
    assert_eq!((rows.len(), titles.len()), (2466, 2466));
    for row in rows {
        let price: u32 = row.rsplit(',').next().unwrap().parse().unwrap();
        assert!((1..=999).contains(&price), "{row}");
    }
}
