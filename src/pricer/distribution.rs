//! The distribution over prices, and the greedy answer, of many prompts at a time.
//!
//! One pass over the prompts gives the probability of every price that is one token. Where a
//! tokenizer splits numbers, the trie of prices is walked level by level over the cached prompts,
//! the likely branches of all prompts in one pass.

use super::parse;
use super::trie::PriceTrie;
use crate::data::Batch;
use crate::format::{Special, Tokenizer};
use crate::generate::{argmax, prompt_ids};
use crate::model::{Model, Pass, SlotCache, SlotRow, Workspace};
use crate::{Error, Result};

/// Rows of one pass behind the prompts: bounds the logits that exist at a time.
const ROWS: usize = 128;

/// Probabilities of whole-dollar prices, ascending by price; they sum to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    prices: Vec<(u32, f64)>,
    mass: f64,
}

impl Distribution {
    /// From weights of prices in any order; prices without weight are dropped.
    pub fn new(mut weights: Vec<(u32, f64)>) -> Distribution {
        weights.retain(|(_, p)| *p > 0.0);
        weights.sort_by_key(|(price, _)| *price);
        let mass: f64 = weights.iter().map(|(_, p)| p).sum();
        weights.iter_mut().for_each(|(_, p)| *p /= mass);
        Distribution { prices: weights, mass }
    }

    /// What the model gave to the prices listed here before they were made to sum to 1: the rest
    /// went to texts that begin with no number, and to branches that were left out.
    pub fn mass(&self) -> f64 {
        self.mass
    }

    /// Price and probability, ascending by price.
    pub fn prices(&self) -> &[(u32, f64)] {
        &self.prices
    }

    /// With probabilities `p^(1/temperature)`, made to sum to 1: flatter above 1, sharper below.
    pub fn tempered(&self, temperature: f64) -> Distribution {
        let top = self.prices.iter().map(|(_, p)| *p).fold(f64::MIN_POSITIVE, f64::max);
        let weight = |p: f64| (p / top).powf(1.0 / temperature);
        let weights = self.prices.iter().map(|(price, p)| (*price, weight(*p))).collect();
        Distribution { mass: self.mass, ..Distribution::new(weights) }
    }

    /// The lowest price with which the probabilities reach `q`; 0 of none.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sum = 0.0;
        let reached = |(_, p): &&(u32, f64)| {
            sum += p;
            sum >= q - 1e-12
        };
        let found = self.prices.iter().find(reached).or(self.prices.last());
        found.map_or(0.0, |(price, _)| f64::from(*price))
    }

    /// The guess with the least expected absolute error.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The guess with the least expected squared error.
    pub fn mean(&self) -> f64 {
        self.prices.iter().map(|(price, p)| f64::from(*price) * p).sum()
    }

    /// The most probable price, the lower of equals; 0 of none.
    pub fn mode(&self) -> f64 {
        self.likely(1).first().map_or(0.0, |(price, _)| f64::from(*price))
    }

    /// The `n` most probable prices, the first first.
    pub fn likely(&self, n: usize) -> Vec<(u32, f64)> {
        let mut sorted = self.prices.clone();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        sorted.truncate(n);
        sorted
    }
}

/// What a model says about one product.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Priced {
    /// The greedy answer behind `Price is $`.
    pub text: String,
    /// The number in it, by the course's parser.
    pub guess: f64,
    /// The distribution.
    pub distribution: Distribution,
}

/// How to price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceOptions {
    /// Prompts of one pass.
    pub batch: usize,
    /// Tokens of the longest prompt.
    pub longest: usize,
    /// Tokens of the greedy answer; the course's 5.
    pub max_new_tokens: usize,
    /// Where numbers are several tokens: the share of the probability of all numbers that is
    /// followed to its end.
    pub mass: f64,
}

impl Default for PriceOptions {
    fn default() -> PriceOptions {
        PriceOptions { batch: 8, longest: 160, max_new_tokens: 5, mass: 0.95 }
    }
}

impl PriceOptions {
    /// Of one product, whose numbers are followed further than those of many.
    pub const ONE: Self = Self { batch: 1, longest: 160, max_new_tokens: 5, mass: 0.99 };

    /// Positions that the model must be loaded for.
    pub fn positions(&self) -> usize {
        self.longest + self.max_new_tokens.max(4)
    }
}

/// Prices products with the active adapter of a model.
pub struct PriceModel<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    trie: &'a PriceTrie,
    options: PriceOptions,
    space: Workspace,
    slots: SlotCache,
    /// How the prompts of the last batch began: its keys still lie in the first slots.
    beginning: Vec<u32>,
    eos: Vec<u32>,
}

/// How many tokens all of these begin with, the last of each apart.
fn common(prompts: &[Vec<u32>]) -> usize {
    let same = |i: &usize| prompts.iter().all(|p| *i + 1 < p.len() && p[*i] == prompts[0][*i]);
    (0..).take_while(same).count()
}

/// A way into the trie, and the slots of its tokens.
struct Branch {
    item: usize,
    node: usize,
    probability: f64,
    slots: Vec<u32>,
    id: u32,
}

/// A prompt that is being answered.
struct Item {
    prompt: Vec<u32>,
    /// Slots of the greedy answer's tokens.
    behind: Vec<u32>,
    answer: Vec<u32>,
    done: bool,
    found: Vec<(u32, f64)>,
    /// Probability of all numbers.
    numbers: f64,
}

impl<'a> PriceModel<'a> {
    /// Allocates for batches as `options` say. **Errors** [`Error::OutOfMemory`];
    /// [`Error::Invalid`] for a mass outside (0, 1] or a batch of none.
    pub fn new(
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        trie: &'a PriceTrie,
        options: PriceOptions,
    ) -> Result<PriceModel<'a>> {
        if !(options.mass > 0.0 && options.mass <= 1.0) {
            return Err(Error::invalid("price mass", format!("{} is not in (0, 1]", options.mass)));
        }
        if options.batch == 0 || options.longest == 0 {
            return Err(Error::invalid("price batch", "has no room; give at least one prompt"));
        }
        let rows = (options.batch * options.longest).max(ROWS);
        let targets = options.batch.max(ROWS);
        let space = model.workspace(Pass { batch: 1, queries: rows, targets }, None)?;
        // Prompts, greedy answers, branches that lead to branches, and a pass of those that do not.
        let each = options.longest + options.max_new_tokens + trie.looked_back_at();
        let slots = SlotCache::new(model.gpu(), model.config(), options.batch * each + ROWS)?;
        let mut eos = model.config().eos_token_ids.clone();
        eos.extend(tokenizer.eos_id());
        let beginning = Vec::new();
        Ok(PriceModel { model, tokenizer, trie, options, space, slots, beginning, eos })
    }

    /// Token ids of a prompt. **Errors** [`Error::Invalid`] if it is longer than the options say.
    pub fn encode(&self, prompt: &str) -> Result<Vec<u32>> {
        let ids = prompt_ids(self.model, self.tokenizer, prompt)?;
        if ids.len() > self.options.longest {
            let why = format!("has {} tokens, over {}", ids.len(), self.options.longest);
            return Err(Error::invalid("prompt", why));
        }
        Ok(ids)
    }

    /// Prices at most `batch` prompts that end in `Price is $`.
    ///
    /// **Errors** [`Error::Invalid`] for too many or too long prompts; [`Error::Device`].
    pub async fn price(&mut self, prompts: &[Vec<u32>]) -> Result<Vec<Priced>> {
        Ok(self.price_while(prompts, &mut |_| true).await?.unwrap_or_default())
    }

    /// [`PriceModel::price`] that can be watched and ended: `going_on` is told between passes which
    /// share of the levels of numbers is done, and ends it with `false`; then there is no answer.
    ///
    /// **Errors** as [`PriceModel::price`].
    pub async fn price_while(
        &mut self,
        prompts: &[Vec<u32>],
        going_on: &mut dyn FnMut(f64) -> bool,
    ) -> Result<Option<Vec<Priced>>> {
        let t = prompts.iter().map(Vec::len).max().unwrap_or(0);
        if prompts.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if prompts.len() > self.options.batch || t > self.options.longest {
            let why = format!("{} of up to {t} tokens, for {:?}", prompts.len(), self.options);
            return Err(Error::invalid("prompts", why));
        }
        if prompts.iter().any(Vec::is_empty) {
            return Err(Error::invalid("prompt", "has no tokens"));
        }
        self.begin(prompts).await?;
        let (beginning, used) = (0..self.beginning.len() as u32, self.slots.used() as u32);
        let (mut rows, mut last) = (Vec::new(), Vec::new());
        let mut items = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let mut before: Vec<u32> = beginning.clone().collect();
            for &id in &prompt[beginning.len()..] {
                let position = before.len() as u32;
                let slot = used + rows.len() as u32;
                rows.push(SlotRow { id, position, before: before.clone() });
                before.push(slot);
            }
            last.push(rows.len() as u32 - 1);
            items.push(Item {
                prompt: before,
                behind: Vec::new(),
                answer: Vec::new(),
                done: false,
                found: Vec::new(),
                numbers: 0.0,
            });
        }
        let slots = &mut self.slots;
        let logits = self.model.extend_slots_to(&self.space, slots, &rows, &last).await?;
        let v = self.model.config().vocab_size;
        let mut branches = Vec::new();
        for (item, logits) in logits.chunks_exact(v).enumerate() {
            self.choose(&mut items[item], logits)?;
            let root = Branch { item, node: 0, probability: 1.0, slots: Vec::new(), id: 0 };
            self.visit(&root, logits, &mut items[item], &mut branches);
        }
        let levels = self.options.max_new_tokens.max(self.trie.depth());
        for level in 1..levels {
            let mut within = |part: f64| going_on((level as f64 + part) / levels as f64);
            if !within(0.0) {
                return Ok(None);
            }
            self.follow(&mut items).await?;
            match self.descend(branches, &mut items, &mut within).await? {
                Some(next) => branches = next,
                None => return Ok(None),
            }
        }
        items.into_iter().map(|item| self.finish(item)).collect::<Result<_>>().map(Some)
    }

    /// Sees to it that the first slots hold what the prompts begin with: what those of the last
    /// batch began with, unless these have twice as much in common.
    async fn begin(&mut self, prompts: &[Vec<u32>]) -> Result<()> {
        let shared = &prompts[0][..common(prompts)];
        let kept = &self.beginning;
        if !kept.is_empty() && shared.starts_with(kept) && shared.len() < 2 * kept.len() {
            self.slots.truncate(kept.len());
            return Ok(());
        }
        self.slots.truncate(0);
        self.beginning.clear();
        if shared.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.push(0, shared, []);
        let (ids, segments) = (&batch.ids, &batch.segments);
        self.model.prefill_segments(&self.space, &mut self.slots, ids, segments).await?;
        self.beginning = shared.to_vec();
        Ok(())
    }

    fn finish(&self, item: Item) -> Result<Priced> {
        let text = self.tokenizer.decode(&item.answer, Special::Without)?;
        let guess = parse::price(&text);
        Ok(Priced { text, guess, distribution: Distribution::new(item.found) })
    }

    /// Takes the next token of the greedy answer.
    fn choose(&self, item: &mut Item, logits: &[f32]) -> Result<()> {
        let id = argmax(logits)?;
        item.done = self.eos.contains(&id);
        if !item.done {
            item.answer.push(id);
            item.done = item.answer.len() >= self.options.max_new_tokens;
        }
        Ok(())
    }

    /// Runs the last token of every greedy answer that goes on.
    async fn follow(&mut self, items: &mut [Item]) -> Result<()> {
        let going: Vec<usize> = (0..items.len()).filter(|&i| !items[i].done).collect();
        let v = self.model.config().vocab_size;
        for part in going.chunks(ROWS) {
            let row = |&i: &usize| -> Option<SlotRow> {
                let item = &items[i];
                Some(slot_row(*item.answer.last()?, &item.prompt, &item.behind))
            };
            let rows: Vec<SlotRow> = part.iter().filter_map(row).collect();
            let first = self.slots.used() as u32;
            let logits = self.model.extend_slots(&self.space, &mut self.slots, &rows).await?;
            for (k, (&i, logits)) in part.iter().zip(logits.chunks_exact(v)).enumerate() {
                items[i].behind.push(first + k as u32);
                self.choose(&mut items[i], logits)?;
            }
        }
        Ok(())
    }

    /// Runs a level of branches and returns those of the next that are worth following; none where
    /// `going_on` ended it.
    async fn descend(
        &mut self,
        level: Vec<Branch>,
        items: &mut [Item],
        going_on: &mut dyn FnMut(f64) -> bool,
    ) -> Result<Option<Vec<Branch>>> {
        let mut next = Vec::new();
        let v = self.model.config().vocab_size;
        let level = self.likely(level, items);
        // A branch whose children all are ends is not looked back at.
        let keep = level.iter().any(|branch| self.trie.leads_on(branch.node));
        for (done, part) in level.chunks(ROWS).enumerate() {
            if !going_on((done * ROWS) as f64 / level.len() as f64) {
                return Ok(None);
            }
            let row = |b: &Branch| slot_row(b.id, &items[b.item].prompt, &b.slots);
            let rows: Vec<SlotRow> = part.iter().map(row).collect();
            let first = self.slots.used();
            let logits = self.model.extend_slots(&self.space, &mut self.slots, &rows).await?;
            for (k, (branch, logits)) in part.iter().zip(logits.chunks_exact(v)).enumerate() {
                let from = next.len();
                self.visit(branch, logits, &mut items[branch.item], &mut next);
                for new in &mut next[from..] {
                    new.slots = branch.slots.clone();
                    new.slots.push((first + k) as u32);
                }
            }
            if !keep {
                self.slots.truncate(first);
            }
        }
        Ok(Some(next))
    }

    /// Of each item's branches the most probable, until what is left out is its share of
    /// `1 − mass`.
    fn likely(&self, mut level: Vec<Branch>, items: &[Item]) -> Vec<Branch> {
        level.sort_by(|a, b| a.item.cmp(&b.item).then(b.probability.total_cmp(&a.probability)));
        let levels = self.trie.depth().saturating_sub(1).max(1) as f64;
        let mut left: Vec<f64> = vec![0.0; items.len()];
        level.iter().for_each(|b| left[b.item] += b.probability);
        level.retain(|b| {
            let enough = (1.0 - self.options.mass) / levels * items[b.item].numbers;
            let keep = left[b.item] > enough;
            left[b.item] -= b.probability;
            keep
        });
        level
    }

    /// Adds the prices that end at or below a branch to what was found, and its branches to `next`.
    fn visit(&self, branch: &Branch, logits: &[f32], item: &mut Item, next: &mut Vec<Branch>) {
        let node = self.trie.node(branch.node);
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exp = |logit: f32| f64::from(logit - top).exp();
        let total: f64 = logits.iter().map(|&logit| exp(logit)).sum();
        let mut below = 0.0;
        for (&id, &child) in &node.children {
            let p = logits.get(id as usize).map_or(0.0, |&logit| exp(logit) / total);
            below += p;
            let (probability, to) = (branch.probability * p, self.trie.node(child));
            match to.price {
                Some(price) if to.children.is_empty() => item.found.push((price, probability)),
                _ => next.push(Branch {
                    item: branch.item,
                    node: child,
                    probability,
                    slots: Vec::new(),
                    id,
                }),
            }
        }
        match node.price {
            Some(price) => item.found.push((price, branch.probability * (1.0 - below).max(0.0))),
            None if branch.node == 0 => item.numbers = below,
            None => {}
        }
    }
}

fn slot_row(id: u32, prompt: &[u32], behind: &[u32]) -> SlotRow {
    let before: Vec<u32> = prompt.iter().chain(behind).copied().collect();
    SlotRow { id, position: before.len() as u32, before }
}

#[cfg(test)]
mod tests {
    use super::Distribution;

    #[test]
    fn guesses_of_a_distribution() {
        let d = Distribution::new(vec![(30, 0.1), (10, 0.2), (20, 0.1), (5, 0.0)]);
        assert!((d.mass() - 0.4).abs() < 1e-12);
        assert_eq!((d.median(), d.mode(), d.mean()), (10.0, 10.0, 17.5));
        assert_eq!((d.quantile(0.05), d.quantile(0.51), d.quantile(1.0)), (10.0, 20.0, 30.0));
        assert_eq!(d.likely(2), [(10, 0.5), (20, 0.25)]);
        let none = Distribution::new(Vec::new());
        assert_eq!((none.median(), none.mean(), none.mode()), (0.0, 0.0, 0.0));
    }
}
