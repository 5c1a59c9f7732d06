//! Parser, colours, metrics and baselines against Python's re, numpy and scikit-learn
//! (`tests/fixtures/pricer/make_golden.py`).

use serde_json::Value;
use wgpu_lora::pricer::baselines::fit_and_guess;
use wgpu_lora::pricer::baselines::words::{Weighting, Words};
use wgpu_lora::pricer::{Colour, Guess, Metrics, parse, prompt};

use crate::tiny;

fn golden() -> Value {
    let text = std::fs::read_to_string(tiny::fixture("pricer/pricer.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn metrics_of_a_fixed_prediction_file_are_numpys_and_scikit_learns() {
    let golden = golden();
    let mut guesses = Vec::new();
    for p in golden["predictions"].as_array().unwrap() {
        let (text, truth) = (p["text"].as_str().unwrap(), p["truth"].as_f64().unwrap());
        let guess = parse::price(text);
        assert_eq!(Some(guess), p["guess"].as_f64(), "{text:?}");
        assert_eq!(
            Some(Colour::of(guess, truth).name()),
            p["colour"].as_str(),
            "{text:?} for {truth}"
        );
        guesses.push(Guess { guess, truth });
    }
    assert!(guesses.len() == 200);
    let got = serde_json::to_value(Metrics::of(&guesses)).unwrap();
    let expected = golden["metrics"].as_object().unwrap();
    assert_eq!(expected.len(), got.as_object().unwrap().len());
    for (name, value) in expected {
        let (got, value) = (got[name].as_f64().unwrap(), value.as_f64().unwrap());
        assert!((got - value).abs() <= 1e-9 * value.abs().max(1.0), "{name}: {got} for {value}");
    }
}

#[test]
fn baselines_are_scikit_learns() {
    let golden = golden();
    let rows = |key: &str| -> Vec<(String, f64)> {
        let row = |row: &Value| (row[0].as_str().unwrap().to_owned(), row[1].as_f64().unwrap());
        golden[key].as_array().unwrap().iter().map(row).collect()
    };
    let (train, test) = (rows("train"), rows("test"));
    let train: Vec<(&str, f64)> =
        train.iter().map(|(text, price)| (text.as_str(), *price)).collect();
    let test: Vec<&str> = test.iter().map(|(text, _)| text.as_str()).collect();
    let texts: Vec<&str> =
        train.iter().map(|(text, _)| prompt::summary_of(text).unwrap()).collect();
    let features = |weighting| Words::fit(&texts, weighting).0.len() as u64;
    let counts = Weighting::Counts { max_features: 2000 };
    assert_eq!(Some(features(counts)), golden["features"]["counts"].as_u64());
    assert_eq!(Some(features(Weighting::Tfidf)), golden["features"]["tfidf"].as_u64());
    let mut all = fit_and_guess(&train, &test, 5);
    all.retain(|baseline| baseline.name != "neighbours");
    assert_eq!(all.len(), golden["baselines"].as_object().unwrap().len());
    for baseline in all {
        let expected: Vec<f64> =
            serde_json::from_value(golden["baselines"][baseline.name].clone()).unwrap();
        // Constants are sums in another order; least squares by conjugate gradients end at a
        // gradient of 1e-8 of the first, which is a cent at most here.
        let bound = if baseline.name.contains("mean") || baseline.name.contains("median") {
            1e-9
        } else {
            0.01
        };
        for (i, (got, expected)) in baseline.guesses.iter().zip(&expected).enumerate() {
            let error = (got - expected).abs();
            assert!(error <= bound, "{} of test row {i}: {got} for {expected}", baseline.name);
        }
    }
}
