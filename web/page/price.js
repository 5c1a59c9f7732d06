// A product in, prices out: the form and what is asked of the worker.
import { addAnswer, answerText, beginAnswer, clearAnswer, compare, endAnswer, hasAnswer } from "./answer.js";
import { $, make } from "./dom.js";
import { call, showShare, state, work } from "./engine.js";
import { FIELDS } from "./texts.js";
import { addressOfProduct, sharedProduct } from "./tabs.js";
import { sampling } from "./sampling.js";

const form = $("product");
const typed = () => Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]));

/**
 * Real stones that were in no training, with their prices; the last one is there to show what the
 * model does not know. Written by assets/scripts/page.mjs.
 */
let examples = [];
/** What is asked now: with its real price where it is an example as it stands. */
const product = () => {
  const now = typed();
  const known = examples.find((example) => FIELDS.every((field) => (example[field] ?? "") === now[field]));
  return known ? { ...now, price: known.price, about: known.about } : now;
};

export async function showPrompt() {
  try {
    $("prompt").textContent = await call("prompt", { product: typed() });
  } catch {
    $("prompt").textContent = "What the model is asked shows here when a model is loaded.";
  }
}

export async function ask() {
  const asked = { product: typed(), sampling: sampling(form) };
  const adapter = $("adapter").value || null;
  const kinds = adapter ? ["tuned", "base"] : ["base"];
  $("answer").setAttribute("aria-busy", "true");
  const done = await work("Answering…", async () => {
    beginAnswer(product(), adapter);
    for (const [at, kind] of kinds.entries()) {
      const onEvent = ({ share }) => share !== undefined && showShare((at + share) / kinds.length);
      addAnswer(kind, await call("price", { ...asked, adapter: kind === "tuned" ? adapter : null }, { onEvent }));
    }
    if (adapter) await call("setAdapter", { name: adapter });
    endAnswer();
    document.body.dataset.answers = Number(document.body.dataset.answers ?? 0) + 1;
    return true;
  });
  $("answer").setAttribute("aria-busy", "false");
  if (!done && !document.querySelector("#answers .price")) clearAnswer("Ask for a price.");
  compare(typed());
}

/** Asks again where an answer stands, when what it depends on has changed. */
export async function askAgain() {
  if (hasAnswer()) await ask();
}

/** Puts a product into the form. */
export function fill(one) {
  for (const field of FIELDS) form.elements[field].value = one[field] ?? "";
  $("fields").open = FIELDS.slice(1).some((field) => one[field]);
  compare(typed());
}

/** Puts a product into the form and asks for its price. */
export async function askFor(one) {
  fill(one);
  if (!state.model || state.busy) return;
  await showPrompt();
  await ask();
}

/** Examples of the built-in model as buttons; the first, or a shared product, in the form. */
export async function showExamples() {
  const response = await fetch("embedded/examples.json").catch(() => null);
  examples = response?.ok ? await response.json() : [];
  $("examples").replaceChildren(...examples.map((example) => {
    const chip = make("button", { type: "button" }, example.name);
    chip.title = example.title;
    chip.onclick = () => askFor(example);
    return chip;
  }));
  if (!typed().title) fill(sharedProduct() ?? examples[0] ?? {});
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
  if (matchMedia("(max-width: 56rem)").matches) $("answer").scrollIntoView({ block: "start" });
});
form.addEventListener("input", ({ target }) => {
  if (!FIELDS.includes(target.name)) return;
  compare(typed());
  if (state.model && !state.busy) showPrompt();
});

async function copy(text, words) {
  try {
    await navigator.clipboard.writeText(text);
    $("copied").textContent = words;
  } catch {
    // No permission: the text itself, to be copied by hand.
    $("copied").textContent = text;
  }
}
$("copy").onclick = () => copy(answerText(), "Copied.");
$("share").onclick = () => {
  const address = addressOfProduct(typed());
  history.replaceState(null, "", address);
  copy(address, "The link is copied; it also stands in the address bar.");
};
