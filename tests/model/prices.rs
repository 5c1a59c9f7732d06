//! The batched distribution over prices against one whole pass per token.

use std::collections::{BTreeMap, BTreeSet};

use crate::setup::*;
use wgpu_lora::format::{Special, Tokenizer};
use wgpu_lora::generate::argmax;
use wgpu_lora::model::{Model, Pass, Quant};
use wgpu_lora::pricer::trie::PriceTrie;
use wgpu_lora::pricer::{PriceModel, PriceOptions, parse};

/// Bytes as tokens, `NN`: enough for prompts, and digits are tokens of their own.
fn bytes(numbers: bool) -> Tokenizer {
    let mut vocab: BTreeMap<String, u32> =
        (32u8..127).map(|b| ((b as char).to_string(), u32::from(b))).collect();
    let mut merges = Vec::new();
    if numbers {
        // 10 to 99 are tokens, three digits are two.
        for (i, (a, b)) in ('1'..='9').flat_map(|a| ('0'..='9').map(move |b| (a, b))).enumerate() {
            vocab.insert(format!("{a}{b}"), 200 + i as u32);
            merges.push(format!("{a} {b}"));
        }
    }
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": { "type": "Fuse" },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    });
    Tokenizer::from_bytes("bytes", json.to_string().as_bytes()).unwrap()
}

fn softmax(model: &Model, ids: &[u32]) -> (Vec<f64>, u32) {
    let space = model.workspace(Pass { batch: 1, queries: ids.len(), targets: 1 }, None).unwrap();
    let logits = block_on(model.logits(&space, ids, 1, &[ids.len() as u32 - 1])).unwrap();
    let top = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
    let exp: Vec<f64> = logits.iter().map(|&l| (f64::from(l) - top).exp()).collect();
    let sum: f64 = exp.iter().sum();
    (exp.into_iter().map(|e| e / sum).collect(), argmax(&logits).unwrap())
}

#[test]
fn distributions_are_the_products_of_whole_passes_whatever_the_batch() {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::Nf4);
    block_on(model.add_fresh_adapter("a", &adapter(3, &[]), 4)).unwrap();
    for numbers in [false, true] {
        let tokenizer = bytes(numbers);
        let trie = PriceTrie::new(&tokenizer).unwrap();
        assert_eq!(trie.depth(), if numbers { 2 } else { 3 });
        let prompts = ["Lamp. Price is $", "Two lamps and a shade: Price is $", "Price is $"];
        let ids: Vec<Vec<u32>> =
            prompts.iter().map(|p| tokenizer.encode(p, Special::With).unwrap()).collect();
        let options = PriceOptions { batch: 3, longest: 40, mass: 1.0, ..Default::default() };
        let mut prices = PriceModel::new(&model, &tokenizer, &trie, options).unwrap();
        let all = block_on(prices.price(&ids)).unwrap();
        for (ids, priced) in ids.iter().zip(&all) {
            let spelled =
                |price| tokenizer.encode(&format!("Price is ${price}"), Special::With).unwrap();
            let start = tokenizer.encode("Price is $", Special::With).unwrap().len();
            let paths: Vec<Vec<u32>> = (0..1000).map(|n| spelled(n)[start..].to_vec()).collect();
            // Some prices, spelled token by token; what comes behind must be no further digit.
            let mut sum_of = 0.0;
            for price in [0u32, 7, 10, 42, 100, 507, 999] {
                let path = &paths[price as usize];
                let mut sequence = ids.clone();
                let mut p = 1.0;
                for &token in path.iter() {
                    p *= softmax(&model, &sequence).0[token as usize];
                    sequence.push(token);
                }
                // Tokens that would make it another price.
                let longer: BTreeSet<u32> = paths
                    .iter()
                    .filter_map(|other| other.strip_prefix(path.as_slice())?.first().copied())
                    .collect();
                if !longer.is_empty() {
                    let after = softmax(&model, &sequence).0;
                    p *= 1.0 - longer.iter().map(|&id| after[id as usize]).sum::<f64>();
                }
                let found = priced.distribution.prices().iter().find(|(n, _)| *n == price);
                let found = found.map_or(0.0, |(_, p)| p * priced.distribution.mass());
                assert!((found - p).abs() < 1e-4 * p + 1e-9, "{numbers} {price}: {found} for {p}");
                sum_of += found;
            }
            assert!(sum_of > 0.0);
            let mut sequence = ids.clone();
            for _ in 0..5 {
                let next = softmax(&model, &sequence).1;
                sequence.push(next);
            }
            let answer = tokenizer.decode(&sequence[ids.len()..], Special::Without).unwrap();
            assert_eq!(
                (priced.text.as_str(), priced.guess),
                (answer.as_str(), parse::price(&answer))
            );
        }
        // Alone and together are the same.
        for (i, prompt) in ids.iter().enumerate() {
            let alone = block_on(prices.price(std::slice::from_ref(prompt))).unwrap();
            assert_eq!(alone[0].text, all[i].text);
            let pairs = alone[0].distribution.prices().iter().zip(all[i].distribution.prices());
            assert!(pairs.clone().count() == 1000);
            assert!(pairs.into_iter().all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-5));
        }
        // Less mass follows fewer branches; what it finds is what was found before.
        let less = PriceOptions { mass: 0.5, ..options };
        let mut prices = PriceModel::new(&model, &tokenizer, &trie, less).unwrap();
        let some = block_on(prices.price(&ids)).unwrap();
        for (some, all) in some.iter().zip(&all) {
            assert!(some.distribution.prices().len() < all.distribution.prices().len());
            assert!(some.distribution.mass() >= 0.5 * all.distribution.mass());
        }
    }
}

#[test]
fn prompts_that_do_not_fit_are_refused() {
    let gpu = gpu();
    let model = load(&gpu, "tiny_a", Quant::Nf4);
    let tokenizer = bytes(false);
    let trie = PriceTrie::new(&tokenizer).unwrap();
    let options = PriceOptions { batch: 1, longest: 12, ..Default::default() };
    let mut prices = PriceModel::new(&model, &tokenizer, &trie, options).unwrap();
    assert!(prices.encode("Lamp. Price is $").is_err());
    assert!(block_on(prices.price(&[vec![40; 13]])).is_err());
    assert!(block_on(prices.price(&[vec![40; 3], vec![40; 3]])).is_err());
    assert!(block_on(prices.price(&[vec![]])).is_err());
    assert!(block_on(prices.price(&[])).unwrap().is_empty());
    for options in [PriceOptions { mass: 0.0, ..options }, PriceOptions { batch: 0, ..options }] {
        assert!(PriceModel::new(&model, &tokenizer, &trie, options).is_err());
    }
}
