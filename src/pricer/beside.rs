//! What lies beside an adapter that prices, and what a product costs by it: the same for the
//! command line and the browser.

use serde::Serialize;

use super::baselines::WordModel;
use super::blend::{INTERVAL, PRICER_FILE, Pricing};
use super::distribution::{Distribution, Priced};
use super::familiar::Familiar;
use super::neighbours::{INDEX_FILE, NeighbourIndex, title};
use super::prompt::{self, CUTOFF};
use crate::Result;
use crate::format::Tokenizer;

/// A weight in a blend that counts.
const LEAST_WEIGHT: f64 = 0.005;

/// What lies beside an adapter that prices.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Of [`PRICER_FILE`]; the default without one.
    pub pricing: Pricing,
    /// Of [`INDEX_FILE`].
    pub index: Option<NeighbourIndex>,
    /// Of [`TEXTS_FILE`](super::familiar::TEXTS_FILE), where the caller reads it.
    pub texts: Option<Familiar>,
}

/// A product as an adapter is asked about it.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Its text, cut to what the adapter was trained on; `None` of a prompt in the caller's words.
    pub summary: Option<String>,
    /// The whole prompt.
    pub prompt: String,
    /// The similar products in it, the most similar first.
    pub similar: Vec<Similar>,
    /// That the text was cut, or that nothing is similar to it.
    pub notes: Vec<String>,
}

/// A product that the adapter was trained on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Similar {
    /// Dollars.
    pub price: f64,
    /// Whole.
    pub title: String,
}

/// What a product costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The median, dollars.
    pub price: f64,
    /// The lower end of [`INTERVAL`], at the temperature.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The mean.
    pub mean: f64,
    /// The most probable price.
    pub mode: f64,
    /// At the temperature.
    pub distribution: Distribution,
    /// Where weights lie beside the adapter, and an index.
    pub blend: Option<Blend>,
}

/// A price that several guesses make.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Blend {
    /// Dollars.
    pub price: f64,
    /// What it is made of, the largest weight first.
    pub parts: Vec<BlendPart>,
}

/// One guess of a blend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlendPart {
    /// As in reports.
    pub name: String,
    /// Weights of a blend sum to 1.
    pub weight: f64,
    /// Dollars.
    pub guess: f64,
}

/// The word models that a blend weighs, by name.
#[derive(Clone, Debug, Default)]
pub struct WordModels(Vec<(&'static str, WordModel)>);

impl Beside {
    /// From the bytes of the two files, where they are there; `folder` stands for theirs in
    /// messages. **Errors** [`Error::Format`](crate::Error::Format) for what is no such file.
    pub fn from_bytes(
        folder: &str,
        pricing: Option<&[u8]>,
        index: Option<&[u8]>,
    ) -> Result<Beside> {
        let name = |file: &str| format!("{folder}/{file}");
        let pricing = pricing.map(String::from_utf8_lossy);
        let pricing = pricing.map(|text| Pricing::from_json(&name(PRICER_FILE), &text));
        let index = index.map(|bytes| NeighbourIndex::from_bytes(&name(INDEX_FILE), bytes));
        let pricing = pricing.transpose()?.unwrap_or_default();
        Ok(Beside { pricing, index: index.transpose()?, texts: None })
    }

    /// A sentence where the adapter was trained on neighbours and has no index.
    pub fn without_index(&self) -> Option<String> {
        let k = self.pricing.neighbours.filter(|_| self.index.is_none())?;
        Some(format!(
            "the adapter was trained on prompts with {k} similar products each, and {INDEX_FILE} is missing beside \
             it: its guesses will be worse. Copy the file from where the adapter was trained, or from the prepared \
             data"
        ))
    }

    /// A sentence where there are weights of a blend, and nothing to fit its word models on.
    pub fn without_blend(&self) -> Option<String> {
        (self.index.is_none() && !self.pricing.blend.is_empty()).then(|| {
            format!(
                "{PRICER_FILE} has a blend, but there is no {INDEX_FILE}, on whose products its word models are \
                 fitted: prepare the rows with neighbours to have one"
            )
        })
    }

    /// The question for a product's text, or for that in a prompt; `cutoff`: tokens of it that are
    /// kept, else those of the training rows. **Errors** those of the tokenizer.
    pub fn question(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        cutoff: Option<usize>,
    ) -> Result<Question> {
        let text = prompt::summary_of(text).unwrap_or(text);
        let trained_on = self.index.as_ref().map(|index| index.settings().cutoff);
        let cutoff = cutoff.or(trained_on).unwrap_or(CUTOFF);
        let (summary, tokens) = prompt::cut(tokenizer, text, cutoff)?;
        let mut notes = Vec::new();
        if tokens > cutoff {
            notes.push(format!("the description has {tokens} tokens; the first {cutoff} are used"));
        }
        let Some(index) = &self.index else {
            let prompt = prompt::prompt(&summary);
            return Ok(Question { summary: Some(summary), prompt, notes, ..Question::default() });
        };
        let similar: Vec<Similar> = index
            .nearest(&summary)
            .into_iter()
            .map(|known| Similar { price: known.price, title: title(&known.text).to_owned() })
            .collect();
        if similar.is_empty() {
            notes.push(
                "none of the products that the adapter was trained on is similar: its guess may be far off"
                    .into(),
            );
        }
        let prompt = index.prompt(tokenizer, &summary)?;
        Ok(Question { summary: Some(summary), prompt, similar, notes })
    }

    /// Fits what the blend weighs on the index's products: seconds, for some thousands of them.
    pub fn word_models(&self) -> WordModels {
        let Some(index) = &self.index else { return WordModels::default() };
        let texts: Vec<&str> = index.known().iter().map(|known| known.text.as_str()).collect();
        let prices: Vec<f64> = index.known().iter().map(|known| known.price).collect();
        let fit: [(&str, Fit); 2] =
            [("bag_of_words", WordModel::bag_of_words), ("tfidf_ridge", WordModel::tfidf_ridge)];
        let counts = |name: &str| self.weights().any(|(weighed, _)| weighed == name);
        let wanted = fit.into_iter().filter(|(name, _)| counts(name));
        WordModels(wanted.map(|(name, fit)| (name, fit(&texts, &prices))).collect())
    }

    /// Names and weights of the blend that count.
    fn weights(&self) -> impl Iterator<Item = (&str, f64)> {
        let all = self.pricing.blend.iter().map(|(name, weight)| (name.as_str(), *weight));
        all.filter(|(_, weight)| *weight > LEAST_WEIGHT)
    }

    /// What the model's answer to a question makes of it.
    pub fn answer(&self, question: &Question, priced: &Priced, words: &WordModels) -> Answer {
        let all = &priced.distribution;
        let distribution = all.tempered(self.pricing.temperature.unwrap_or(1.0));
        Answer {
            price: all.median(),
            low: distribution.quantile(INTERVAL.0),
            high: distribution.quantile(INTERVAL.1),
            mean: all.mean(),
            mode: all.mode(),
            distribution,
            blend: question
                .summary
                .as_ref()
                .and_then(|summary| self.blend(summary, all.median(), words)),
        }
    }

    /// What cannot be guessed here is left out, and the others weigh more.
    fn blend(&self, summary: &str, median: f64, words: &WordModels) -> Option<Blend> {
        let index = self.index.as_ref()?;
        let guess = |name: &str| match name {
            "fine_tuned" => Some(median),
            "neighbours" => Some(index.median(summary)),
            name => words.guess(name, summary),
        };
        let part = |(name, weight): (&str, f64)| {
            Some(BlendPart { name: name.to_owned(), weight, guess: guess(name)? })
        };
        let mut parts: Vec<BlendPart> = self.weights().filter_map(part).collect();
        let whole: f64 = parts.iter().map(|part| part.weight).sum();
        parts.iter_mut().for_each(|part| part.weight /= whole);
        parts.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let price = parts.iter().map(|part| part.weight * part.guess).sum();
        (!parts.is_empty()).then_some(Blend { price, parts })
    }
}

/// Fits on texts and their prices.
type Fit = fn(&[&str], &[f64]) -> WordModel;

impl WordModels {
    fn guess(&self, name: &str, text: &str) -> Option<f64> {
        let (_, model) = self.0.iter().find(|(known, _)| *known == name)?;
        model.guess(&[text]).pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricer::neighbours::{Known, NeighbourSettings};

    fn beside() -> Beside {
        let settings = NeighbourSettings { neighbours: 2, ..NeighbourSettings::default() };
        let known = |i: u32| {
            let (kind, price) = [("lamp", 10.0), ("drill", 100.0)][i as usize % 2];
            Known { text: format!("Title: {kind} of series {i}"), price: price + f64::from(i) }
        };
        let index = NeighbourIndex::new(settings, (0..40).map(known).collect());
        let weights = [("fine_tuned", 0.5), ("neighbours", 0.25), ("tfidf_ridge", 0.25)];
        let blend = weights.map(|(name, weight)| (name.to_owned(), weight)).into();
        let pricing =
            Pricing { neighbours: Some(2), temperature: Some(2.0), blend, ..Pricing::default() };
        Beside { pricing, index: Some(index), texts: None }
    }

    fn priced() -> Priced {
        let weights = [(10, 0.05), (20, 0.9), (90, 0.05)];
        Priced { distribution: Distribution::new(weights.into()), ..Priced::default() }
    }

    #[test]
    fn an_answer_has_the_interval_at_the_temperature_and_says_what_the_blend_is_made_of() {
        let beside = beside();
        let summary = "Title: a new lamp";
        let question = Question { summary: Some(summary.into()), ..Question::default() };
        let words = beside.word_models();
        let answer = beside.answer(&question, &priced(), &words);
        // √0.05 of √0.05 + √0.9 + √0.05 is 0.16.
        assert_eq!((answer.price, answer.low, answer.high), (20.0, 10.0, 90.0));
        let blend = answer.blend.unwrap();
        let names: Vec<&str> = blend.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["fine_tuned", "neighbours", "tfidf_ridge"]);
        let index = beside.index.as_ref().unwrap();
        let parts: Vec<f64> = blend.parts.iter().map(|part| part.guess).collect();
        assert_eq!(parts[..2], [20.0, index.median(summary)]);
        assert!(parts[2] > 8.0 && parts[2] < 60.0, "{parts:?}");
        assert_eq!(blend.price, 0.5 * parts[0] + 0.25 * parts[1] + 0.25 * parts[2]);
        // Who asks in words of their own has no product to look up.
        assert!(beside.answer(&Question::default(), &priced(), &words).blend.is_none());
        // Weights are those of what there is.
        let fewer = beside.answer(&question, &priced(), &WordModels::default()).blend.unwrap();
        assert!((fewer.price - (2.0 * parts[0] + parts[1]) / 3.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_missing_is_said() {
        let whole = beside();
        assert_eq!((whole.without_index(), whole.without_blend()), (None, None));
        let alone = Beside { index: None, ..whole.clone() };
        let said = [alone.without_index(), alone.without_blend()].map(Option::unwrap);
        assert!(said.iter().all(|text| text.contains(INDEX_FILE)), "{said:?}");
        assert!(
            alone.answer(&Question::default(), &priced(), &alone.word_models()).blend.is_none()
        );
        let index = whole.index.unwrap().to_bytes().unwrap();
        let read = Beside::from_bytes("a", Some(whole.pricing.to_json().as_bytes()), Some(&index));
        let read = read.unwrap();
        assert_eq!((read.pricing, read.index.unwrap().known().len()), (whole.pricing, 40));
        let why = Beside::from_bytes("a", Some(b"{"), None).unwrap_err().to_string();
        assert!(why.contains("a/pricer.json"), "{why}");
    }
}
