// How familiar a text is to an adapter: the perplexity of its words under a bigram model of the
// texts that the adapter was trained on. It needs no GPU, is kept beside the adapter as
// `training_texts.json`, and can say which words are new. Its formula is in src/pricer/familiar.rs,
// the same model for the command line: of the same text both must say the same.

/** Words that there could be: what an unseen one is worth. */
const VOCABULARY = 100_000;
/** Of its own training texts an adapter calls this share foreign, each judged by the others. */
const FOREIGN = 0.03;
/** … and a text that is hardly stranger than those is none: few texts give an uncertain share. */
const MARGIN = 1.25;
/** Below this many texts nothing can be said of what is foreign. */
const FEWEST = 20;

const words = (text) => text.toLowerCase().match(/\p{Alphabetic}+\d*|\d+(?:\.\d+)?|[^\s\p{Alphabetic}\d]/gu) ?? [];
/** Every word with the one before it; the text's two ends are "". */
const pairs = (text) => {
  const all = ["", ...words(text), ""];
  return all.slice(1).map((word, i) => [all[i], word]);
};

/** Counts of words behind words: `next[before][word]`, `single[word]`. */
class Counts {
  constructor({ next = {}, single = {} } = {}) {
    const map = (object) => new Map(Object.entries(object));
    this.single = map(single);
    this.next = new Map(Object.entries(next).map(([word, behind]) => [word, map(behind)]));
    this.total = [...this.single.values()].reduce((a, b) => a + b, 0);
  }

  /** Adds a text `times` times; −1 takes it out. */
  add(text, times = 1) {
    const count = (map, word) => {
      const now = (map.get(word) ?? 0) + times;
      if (now > 0) map.set(word, now);
      else map.delete(word);
    };
    for (const [before, word] of pairs(text)) {
      if (!this.next.has(before)) this.next.set(before, new Map());
      count(this.next.get(before), word);
      count(this.single, word);
      this.total += times;
    }
  }

  /**
   * Witten and Bell's estimate of P(word | before): what follows `before` only seldom leaves room
   * for what has never followed it.
   */
  probability(before, word) {
    const { single, total } = this;
    const alone = ((single.get(word) ?? 0) + (single.size + 1) / VOCABULARY) / (total + single.size + 1);
    const behind = this.next.get(before);
    if (!behind?.size) return alone;
    const sum = [...behind.values()].reduce((a, b) => a + b, 0);
    return ((behind.get(word) ?? 0) + behind.size * alone) / (sum + behind.size);
  }

  /** exp of the mean of −ln P over a text's words. */
  perplexity(text) {
    const all = pairs(text);
    const nats = all.reduce((sum, [before, word]) => sum - Math.log(this.probability(before, word)), 0);
    return Math.exp(nats / Math.max(all.length, 1));
  }
}

/** What a product says of itself. */
export const FIELDS = ["title", "category", "brand", "description", "details"];

/** A product as one text. */
export const textOf = (product) => FIELDS.map((field) => product[field]?.trim()).filter(Boolean).join(" ");

const object = (map) => Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));

/**
 * What is kept of the texts (of products) that an adapter was trained on: `{texts, low, high,
 * limit, single, next}`, prices in dollars; a text is foreign above the perplexity `limit`.
 */
export function learned(texts, prices) {
  const counts = new Counts();
  for (const text of texts) counts.add(text);
  const scores = texts.map((text) => {
    counts.add(text, -1);
    const score = counts.perplexity(text);
    counts.add(text);
    return score;
  }).sort((a, b) => a - b);
  const limit = scores[Math.min(Math.ceil(scores.length * (1 - FOREIGN)), scores.length - 1)] ?? 0;
  return {
    texts: texts.length, low: Math.min(...prices), high: Math.max(...prices), limit: Number((MARGIN * limit).toPrecision(4)),
    single: object(counts.single), next: object(new Map([...counts.next].map(([word, behind]) => [word, object(behind)]))),
  };
}

/**
 * Whether a text is foreign to what was learned, and its words that no training text has; null
 * where that is not known.
 */
export function judged(text, kept) {
  if (!(kept?.texts >= FEWEST) || !kept.limit) return null;
  const counts = new Counts(kept);
  const perplexity = counts.perplexity(text);
  const unseen = [...new Set(words(text))].filter((word) => /[\p{Alphabetic}\d]/u.test(word) && !counts.single.has(word));
  return { perplexity, foreign: perplexity > kept.limit, unseen };
}
