// A product in, prices out: the form, its prompt, and the answers side by side.
import { distribution, fitted } from "./charts.js";
import { $, make, seconds } from "./dom.js";
import { call, state, work } from "./engine.js";
import { sampling } from "./write.js";

/**
 * In the words of the products that the built-in adapter has seen; none of them was among those.
 */
const EXAMPLES = [
  { name: "Small and fine", title: "Diamond, ideal cut, clarity VS1, colour G, 0.30 carat" },
  { name: "Larger", title: "Diamond, premium cut, clarity VS2, colour E, 0.41 carat" },
  { name: "Not so fine", title: "Diamond, good cut, clarity SI2, colour J, 0.32 carat" },
  { name: "A desk lamp", title: "LED desk lamp", category: "Home", brand: "Lumo", description: "Dims in five steps, folds flat." },
];

const form = $("product");
const FIELDS = ["title", "category", "brand", "description", "details"];
const product = () => Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]));

export async function showPrompt() {
  try {
    $("prompt").textContent = await call("prompt", { product: product() });
  } catch {
    $("prompt").textContent = "The prompt shows here when a model is loaded.";
  }
}

function tokenTable(rows) {
  const body = rows.map(({ text, probability }) =>
    make("tr", {}, make("td", {}, make("code", {}, JSON.stringify(text).slice(1, -1))), make("td", { class: "number" }, `${(100 * probability).toFixed(2)} %`)));
  return make("table", {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Next token"), make("th", { scope: "col", class: "number" }, "Probability"))),
    make("tbody", {}, ...body));
}

function showAnswer(kind, title, answer) {
  const block = make("div", { class: kind });
  block.dataset.price = answer.price;
  const { price, low, high, mean, mode, drawn } = answer;
  const facts = `${seconds(answer.seconds)}, ${answer.promptTokens} tokens of prompt, ${(answer.promptTokens / answer.seconds).toFixed(0)} tokens/s`;
  block.append(
    make("h3", {}, title),
    make("p", { class: "price" }, `$${price.toFixed(0)}`),
    make("p", {}, `80 % between $${low.toFixed(0)} and $${high.toFixed(0)}; mean $${mean.toFixed(0)}, most probable $${mode.toFixed(0)}`),
    fitted("distribution", (width) => distribution(answer, width)),
    make("p", { class: "quiet" }, `It writes “${answer.text}”. ${(100 * answer.mass).toFixed(1)} % of its probability is on prices.`),
    ...(drawn === undefined ? [] : [make("p", { class: "quiet drawn" }, `Drawn with these settings: “${drawn}”`)]),
    make("p", { class: "quiet" }, facts),
    make("details", {}, make("summary", {}, "What may come next"), tokenTable(answer.next)),
  );
  $("answers").append(block);
}

export async function ask() {
  await work("Answering…", async () => {
    const asked = { product: product(), sampling: sampling(form) };
    const adapter = $("adapter").value || null;
    $("answer").setAttribute("aria-busy", "true");
    try {
      $("answers").replaceChildren();
      $("answer-empty").hidden = true;
      if (adapter) showAnswer("tuned", `Fine-tuned: ${adapter}`, await call("price", { ...asked, adapter }));
      showAnswer("base", "Base model", await call("price", { ...asked, adapter: null }));
      if (adapter) await call("setAdapter", { name: adapter });
      document.body.dataset.answers = Number(document.body.dataset.answers ?? 0) + 1;
    } finally {
      $("answer").setAttribute("aria-busy", "false");
    }
  });
}

/** Asks again where an answer stands, when what it depends on has changed. */
export async function askAgain() {
  if ($("answers").childElementCount > 0) await ask();
}

/** Another model: its predecessor's answers go. */
export function clearAnswers() {
  $("answers").replaceChildren();
  $("answer-empty").hidden = false;
  $("answer-empty").textContent = "Ask for a price.";
}

function fill(example) {
  for (const field of FIELDS) form.elements[field].value = example[field] ?? "";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
form.addEventListener("input", () => state.model && !state.busy && showPrompt());
for (const example of EXAMPLES) {
  const chip = make("button", { type: "button" }, example.name);
  chip.title = example.title;
  chip.onclick = () => {
    fill(example);
    if (state.model && !state.busy) showPrompt().then(ask);
  };
  $("examples").append(chip);
}
fill(EXAMPLES[0]);
