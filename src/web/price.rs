//! Prices in the browser: a product in, what it costs out, as `predict` says it.

use js_sys::Function;
use wasm_bindgen::prelude::*;

use super::args::*;
use super::js;
use super::model::WasmModel;
use super::prices::Prices;
use crate::clock::Clock;
use crate::format::Special;
use crate::pricer::beside::Question;
use crate::pricer::dollars::dollars;
use crate::pricer::prompt::{Spelling, completion};
use crate::pricer::{PriceModel, PriceOptions};
use crate::{Error, Result};

impl WasmModel {
    /// Asks with what lies beside the active adapter.
    fn question(&self, prices: &Prices, product: ProductArgs) -> Result<Question> {
        match product.asked() {
            Asked::About(text) => prices.beside.question(&self.tokenizer, &text, None),
            Asked::InWords(prompt) => Ok(Question { prompt, ..Question::default() }),
        }
    }

    /// Of the active adapter.
    fn prices<'a>(&'a self, none: &'a Prices) -> Result<&'a Prices> {
        let active = self.model()?.active_adapter_name();
        Ok(active.and_then(|name| self.prices.get(name)).unwrap_or(none))
    }
}

#[wasm_bindgen]
impl WasmModel {
    /// What a product costs: `{prompt, text, guess, price, low, high, mean, mode, mass, prices:
    /// [[dollars, probability]], temperature, neighbours, blend, notes, promptTokens, seconds}`;
    /// `price` is the median, `low` and `high` hold 80 % between them. `each(share)` is told how
    /// much is done and ends it with `false`; then the answer is `null`.
    #[wasm_bindgen(js_name = predictPrice)]
    pub async fn predict_price(&self, product: String, each: Function) -> Result<JsValue, JsValue> {
        let product = js::options::<ProductArgs>(&product)?;
        let model = self.model().map_err(js::error)?;
        let trie = self.trie.as_ref().ok_or_else(|| {
            js::error(Error::Unsupported {
                what: "prices with this model's tokenizer".into(),
                hint: "it joins `$` and the digits; write free text instead".into(),
            })
        })?;
        let clock = Clock::start();
        let none = Prices::default();
        let prices = self.prices(&none).map_err(js::error)?;
        let question = self.question(prices, product).map_err(js::error)?;
        let tokens = self.tokenizer.encode(&question.prompt, Special::With).map_err(js::error)?;
        let options = PriceOptions { longest: tokens.len().max(1), ..PriceOptions::ONE };
        let mut pricer =
            PriceModel::new(model, &self.tokenizer, trie, options).map_err(js::error)?;
        let ids = pricer.encode(&question.prompt).map_err(js::error)?;
        let prompt_tokens = ids.len();
        let mut going_on = |share: f64| {
            each.call1(&JsValue::NULL, &share.into()).is_ok_and(|answer| !answer.is_falsy())
        };
        let priced = pricer.price_while(&[ids], &mut going_on).await.map_err(js::error)?;
        let Some(priced) = priced.and_then(|mut all| all.pop()) else {
            return Ok(JsValue::NULL);
        };
        let answer = prices.beside.answer(&question, &priced, prices.words());
        js::object(&PriceOut {
            text: &priced.text,
            guess: priced.guess,
            price: answer.price,
            low: answer.low,
            high: answer.high,
            mean: answer.mean,
            mode: answer.mode,
            mass: priced.distribution.mass(),
            prices: answer.distribution.prices(),
            temperature: prices.beside.pricing.temperature,
            neighbours: &question.similar,
            blend: answer.blend,
            notes: question.notes.iter().cloned().chain(prices.notes()).collect(),
            prompt: &question.prompt,
            prompt_tokens,
            seconds: clock.seconds(),
        })
    }

    /// Of the index beside an adapter, how many products it has and the range of their prices:
    /// `{texts, low, high}`; null without one.
    #[wasm_bindgen(js_name = trainedOn)]
    pub fn trained_on(&self, name: &str) -> Result<JsValue, JsValue> {
        let index = self.prices.get(name).and_then(|prices| prices.beside.index.as_ref());
        let prices: Vec<f64> =
            index.iter().flat_map(|index| index.known()).map(|known| known.price).collect();
        js::object(&index.map(|_| TrainedOn {
            texts: prices.len(),
            low: prices.iter().copied().fold(f64::INFINITY, f64::min),
            high: prices.iter().copied().fold(0.0, f64::max),
        }))
    }

    /// The prompt that asks the active adapter for a product's price.
    #[wasm_bindgen(js_name = pricePrompt)]
    pub fn price_prompt(&self, product: &str) -> Result<String, JsValue> {
        let product = js::options::<ProductArgs>(product)?;
        let none = Prices::default();
        let prices = self.prices(&none).map_err(js::error)?;
        Ok(self.question(prices, product).map_err(js::error)?.prompt)
    }

    /// The row that teaches a product's price, `{prompt, completion, price}`.
    #[wasm_bindgen(js_name = priceRow)]
    pub fn price_row(&self, product: &str, price: &str) -> Result<JsValue, JsValue> {
        let product = js::options::<ProductArgs>(product)?;
        let asked = self.question(&Prices::default(), product).map_err(js::error)?;
        let dollars = dollars(price).map_err(|why| js::error(Error::invalid("price", why)))?;
        let completion = completion(dollars, Spelling::default());
        js::object(&RowOut { prompt: asked.prompt, completion, price: dollars })
    }
}
