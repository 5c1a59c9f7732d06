// An answer: two prices, how likely each is, the truth where it is known, and what the model has
// learned at all.
import { distributions, fitted } from "./charts.js";
import { $, dollars, make, seconds, sentenceOf } from "./dom.js";
import { call, state, work } from "./engine.js";
import { judged, textOf } from "./texts.js";

const whole = (price) => `$${price.toFixed(0)}`;

/** What stands for the two models in charts and above prices. */
const NAMES = { tuned: "after fine-tuning", base: "before" };

/** A price, large, with its interval. */
function priceOf(kind, title, { price, low, high }) {
  const block = make("div", { class: kind }, make("h3", {}, title), make("p", { class: "price" }, whole(price)),
    make("p", { class: "range" }, `8 in 10: ${whole(low)} to ${whole(high)}`));
  block.dataset.price = price;
  return block;
}

/** Why there are two prices, and what an adapter has learned. */
export function learnedBy(adapter) {
  if (!adapter) return "This is the model as it was: nobody has taught it prices.";
  return `One model answers twice, with what it has learned and without, so that you see what fine-tuning changes. ${learning(adapter)}`;
}

function learning(adapter) {
  const kept = state.texts.get(adapter);
  if (!kept?.texts) return `What “${adapter}” was trained on is not known here, so nobody can say which products it knows.`;
  const { texts, what = "products", low, high, note } = kept;
  return `“${adapter}” has learned from ${texts.toLocaleString("en")} ${what} that cost ${dollars(low)} to ${dollars(high)}, and from nothing else.${note ? ` ${note}` : ""}`;
}

/** Why a product is foreign to what an adapter has learned; null where it is not, or not known. */
export function foreignTo(adapter, product) {
  const kept = adapter ? state.texts.get(adapter) : null;
  const verdict = judged(textOf(product), kept);
  if (!verdict?.foreign) return null;
  const some = verdict.unseen.filter((word) => word.length > 1).slice(0, 4).map((word) => `“${word}”`);
  const words = some.length > 0 ? ` It has never read ${some.join(", ")}.` : "";
  return `Do not trust this price: nothing like this was among the ${kept.what ?? "products"} that the model has learned from.${words}`;
}

/** The words that may come next, asked for when they are looked at. */
function tokenTable(rows) {
  const body = rows.map(({ text, probability }) =>
    make("tr", {}, make("td", {}, make("code", {}, JSON.stringify(text).slice(1, -1))), make("td", { class: "number" }, `${(100 * probability).toFixed(2)} %`)));
  return make("table", {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "What it may write next"), make("th", { scope: "col", class: "number" }, "How likely"))),
    make("tbody", {}, ...body));
}

function inside(kind, title, answer) {
  const { mean, mode, drawn, text, mass, temperature, promptTokens, seconds: took } = answer;
  return make("div", { class: kind },
    make("h3", {}, title),
    make("p", {}, `It writes “${text}”. Mean ${whole(mean)}, most probable ${whole(mode)}; ${(100 * mass).toFixed(1)} % of its probability is on prices.`),
    ...(temperature ? [make("p", {}, `Interval and chart are at temperature ${temperature.toFixed(2)}, at which 8 in 10 intervals held on products that were set aside.`)] : []),
    ...(drawn === undefined ? [] : [make("p", { class: "drawn" }, `Drawn with these settings: “${drawn}”`)]),
    make("p", { class: "quiet" }, `${seconds(took)}, ${promptTokens} tokens of prompt, ${(promptTokens / took).toFixed(0)} tokens/s`),
    make("div", { class: "next" }));
}

/** What a guess of a blend is, by its name in reports. */
const GUESSES = { fine_tuned: "this model", neighbours: "the similar products", bag_of_words: "single words", tfidf_ridge: "words and pairs of them" };

/** What lies beside the adapter adds to its answer: a blend, similar products, what to know. */
function showBeside({ blend, neighbours = [], notes = [] }) {
  const parts = blend?.parts.map(({ name, weight, guess }) => `${GUESSES[name] ?? name} ${whole(guess)} (${(100 * weight).toFixed(0)} %)`);
  $("blend").hidden = !blend;
  if (blend) $("blend").replaceChildren(make("strong", {}, `Blended: ${whole(blend.price)}.`), ` Made of ${parts.join(", ")}.`);
  $("similar").hidden = neighbours.length === 0;
  $("similar-list").replaceChildren(...neighbours.map(({ price, title }) =>
    make("li", {}, make("span", { class: "cost" }, dollars(price)), make("span", { class: "name" }, title))));
  $("notes").hidden = notes.length === 0;
  $("notes").textContent = notes.map(sentenceOf).join(" ");
}

/** What stands there now: `{product, adapter, answers: [{kind, answer}]}`. */
let shown;

/** Takes the answer away, for one that is being made, or for good. */
export function clearAnswer(words) {
  shown = undefined;
  $("answers").replaceChildren();
  $("insides").replaceChildren();
  $("both").replaceChildren();
  for (const id of ["truth", "foreign", "stale", "answer-more"]) $(id).hidden = true;
  showBeside({});
  $("learned").textContent = "";
  $("inside").open = false;
  $("answer").classList.remove("old");
  $("asked").textContent = words ? "The answer" : "Asking…";
  $("answer-empty").hidden = !words;
  if (words) $("answer-empty").textContent = words;
}

/** Begins an answer to a product; `adapter` is null for the base model alone. */
export function beginAnswer(product, adapter) {
  clearAnswer();
  shown = { product, adapter, answers: [] };
  $("asked").textContent = product.title;
  const warning = foreignTo(adapter, product);
  $("foreign").hidden = !warning;
  $("foreign").textContent = warning ?? "";
  $("answer").classList.toggle("doubtful", Boolean(warning));
  $("learned").textContent = learnedBy(adapter);
}

function chart() {
  // The narrower one in front.
  const answers = shown.answers.map(({ kind, answer }) => ({ kind, name: NAMES[kind], answer })).reverse();
  const { price: truth } = shown.product;
  $("both").replaceChildren(fitted("distribution", (width) => distributions(answers, truth, width)));
}

function truth() {
  const { price, about } = shown.product;
  $("truth").hidden = price === undefined;
  if (price === undefined) return;
  const off = ({ kind, answer }) => `${kind === "tuned" ? "after fine-tuning" : "before"} the model is ${whole(Math.abs(answer.price - price))} off`;
  $("truth").replaceChildren(make("strong", {}, `Real price: ${dollars(price)}.`), ` ${about ?? ""}${about ? " " : ""}${shown.answers.map(off).join(", ").replace(/^./, (c) => c.toUpperCase())}.`);
}

/** Adds what one model says, `kind` "tuned" or "base". */
export function addAnswer(kind, answer) {
  if (!shown) return;
  shown.answers.push({ kind, answer });
  const title = kind === "tuned" ? `After fine-tuning on ${shown.adapter}` : shown.adapter ? "Before fine-tuning" : "The model as it was";
  $("answers").append(priceOf(kind, title, answer));
  $("insides").append(inside(kind, title, answer));
  if (kind === "tuned" || !shown.adapter) showBeside(answer);
  chart();
  truth();
}

/** All models have answered. */
export function endAnswer() {
  $("answer-more").hidden = false;
}

/** An answer that came earlier, from elsewhere: no model is here to be asked about it. */
export function showRecorded({ product, answers, learned }) {
  beginAnswer(product, answers.length > 1 ? "diamonds" : null);
  for (const { kind, answer } of answers) addAnswer(kind, answer);
  $("foreign").hidden = true;
  $("answer").classList.remove("doubtful");
  $("learned").textContent = learned;
}

/** Greys the answer where the form says something else by now. */
export function compare(product) {
  const changed = shown !== undefined && textOf(product) !== textOf(shown.product);
  $("answer").classList.toggle("old", changed);
  $("stale").hidden = !changed;
}

export const hasAnswer = () => shown !== undefined;

/** The answer as one writes it to somebody else. */
export function answerText() {
  const prices = shown.answers.map(({ kind, answer }) => `${NAMES[kind]}: ${whole(answer.price)} (8 in 10: ${whole(answer.low)} to ${whole(answer.high)})`);
  const warning = foreignTo(shown.adapter, shown.product);
  const blend = $("blend").hidden ? [] : [$("blend").textContent];
  return [textOf(shown.product), ...prices, ...blend, ...(warning ? [warning] : [])].join("\n");
}

$("inside").addEventListener("toggle", async () => {
  const places = [...$("insides").querySelectorAll(".next:empty")];
  if (!$("inside").open || !shown || !state.model || places.length === 0) return;
  const { answers, adapter } = shown;
  await work("Looking inside…", async () => {
    for (const [i, { kind, answer }] of answers.entries()) {
      places[i].replaceChildren(tokenTable(await call("nextTokens", { prompt: answer.prompt, adapter: kind === "tuned" ? adapter : null })));
    }
  });
});
