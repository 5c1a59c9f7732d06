// The user's own products and prices into an adapter, in three steps: data, training, trying it.
import { adopted, took } from "./adapters.js";
import { fitted, line } from "./charts.js";
import { precision, testRest } from "./device.js";
import { $, dollars, duration, make } from "./dom.js";
import { call, cancel, enable, say, showShare, work } from "./engine.js";
import { askFor } from "./price.js";
import { products, split } from "./table.js";
import { show } from "./tabs.js";

const form = $("train");
/** The largest price that an answer can be. */
const LARGEST = 999;

// ---- 1: the data --------------------------------------------------------------------------------

const middle = (prices) => prices[Math.floor(prices.length / 2)];
const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

/** What is set aside, in a sentence. */
function aside({ held }) {
  return held.length === 0
    ? "So few that none can be set aside: with 20 or more, one in ten would show what the model makes of products it has not seen."
    : `${plural(held.length, "product")} of them ${held.length === 1 ? "is" : "are"} set aside: training never sees them, so they show what the model makes of new products.`;
}

/** Shows what was found in the table, or what is wrong with it. */
function preview() {
  const text = form.elements.table.value;
  if (!text.trim()) return $("preview").replaceChildren();
  let table;
  try {
    table = products(text);
  } catch (error) {
    return $("preview").replaceChildren(make("p", { class: "quiet" }, error.message));
  }
  const prices = table.map(({ price }) => Number(price.replace(/[^0-9.]/g, ""))).sort((a, b) => a - b);
  const dear = prices.filter((price) => price > LARGEST).length;
  const facts = [
    `${plural(table.length, "product")}, ${dollars(prices[0])} to ${dollars(prices.at(-1))}, middle ${dollars(middle(prices))}. Columns: ${table.used.join(", ")}.`,
    aside(split(table)),
    ...(table.unused.length > 0 ? [`Columns that are not used: ${table.unused.join(", ")}.`] : []),
    ...(dear > 0 ? [`${plural(dear, "price")} above $${LARGEST}: answers end there.`] : []),
  ];
  const columns = table.used.slice(0, 1).concat("price");
  const head = make("tr", {}, ...columns.map((name) => make("th", name === "price" ? { scope: "col", class: "number" } : { scope: "col" }, name)));
  const body = table.slice(0, 3).map((row) => make("tr", {}, ...columns.map((name) => make("td", name === "price" ? { class: "number" } : {}, row[name] ?? ""))));
  return $("preview").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)), make("p", { class: "quiet" }, facts.join(" ")));
}

let typing;
/** What is typed is looked at, and kept for the next visit. */
function changed() {
  clearTimeout(typing);
  typing = setTimeout(() => {
    preview();
    call("saveTable", { text: form.elements.table.value }, { signal: null }).catch(() => {});
  }, 300);
}
form.elements.table.addEventListener("input", changed);

function setTable(text) {
  form.elements.table.value = text;
  $("train-note").textContent = "";
  changed();
}

/** The table of the last visit. */
export async function restoreTable() {
  const text = await call("table").catch(() => "");
  if (text && !form.elements.table.value) {
    form.elements.table.value = text;
    preview();
  }
}

$("sample").onclick = async () => {
  const response = await fetch("embedded/products.csv").catch(() => null);
  if (response?.ok) setTable((await response.text()).split("\n").slice(0, 201).join("\n"));
  else $("train-note").textContent = "This copy of the page has no sample table.";
};
/** A table's file in the place of what is there. */
export async function takeTable(file) {
  setTable(await file.text());
}
$("csv").onchange = async ({ target }) => {
  if (target.files[0]) await takeTable(target.files[0]);
  target.value = "";
};

// ---- 2: training --------------------------------------------------------------------------------

/** What is typed, as settings of the command line in camelCase. */
export function settings() {
  const number = (name) => Number(form.elements[name].value);
  const maxSteps = number("maxSteps");
  return {
    // AdamW's first step goes by the signs of the gradient alone, so it had better be a small one.
    maxSteps, warmupSteps: maxSteps < 3 ? 0 : Math.ceil(maxSteps / 10),
    rank: number("rank"), loraAlpha: 2 * number("rank"), loraDropout: 0,
    learningRate: number("learningRate"), batchSize: number("batchSize"), gradientAccumulationSteps: 1,
    targetModules: "all-linear", lrSchedulerType: "cosine", precision: precision(),
  };
}

/** The curves; `held`: how many products are set aside, `guessing`: the error of a constant. */
export function showCurves({ losses, errors, total, held, guessing }) {
  const constant = guessing === undefined ? undefined : { value: guessing, name: "always the middle price" };
  const title = `How far off, on ${plural(held, "product")} set aside`;
  $("error-chart").replaceChildren(...(errors.length > 0
    ? [fitted("curve", (width) => line(errors, { title, total, width, unit: "$", dots: true, constant }))]
    : []));
  $("loss-chart").replaceChildren(...(losses.length > 0
    ? [fitted("curve", (width) => line(losses, { title: "Surprise at the right prices (loss)", total, width, second: true }))]
    : []));
}

/** Asks before the page is left while something would be lost. */
const stay = (event) => event.preventDefault();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const note = $("train-note");
  note.textContent = "";
  let table;
  try {
    table = products(form.elements.table.value);
  } catch (error) {
    note.textContent = error.message;
    form.elements.table.focus();
    return;
  }
  const curves = { losses: [], errors: [], total: 1, held: 0 };
  const start = performance.now();
  let first;
  const onEvent = ({ held, guessing, line: step, error }) => {
    if (held !== undefined) Object.assign(curves, { held, guessing });
    if (step === undefined) return;
    if (error !== undefined) curves.errors.push([step.step, error]);
    if (step.step > 0) {
      first ??= performance.now();
      curves.losses.push([step.step, step.loss]);
      curves.total = step.total;
      const left = step.step > 1 ? ((performance.now() - first) / 1000 / (step.step - 1)) * (step.total - step.step) : undefined;
      const elapsed = duration((performance.now() - start) / 1000);
      $("train-time").textContent = `Step ${step.step} of ${step.total}. ${elapsed} so far${left === undefined ? "" : `, about ${duration(left)} to go`}.`;
      say(`Training: step ${step.step} of ${step.total}`, "busy");
      showShare(step.step / step.total);
      form.dataset.step = step.step;
    }
    showCurves(curves);
  };
  showCurves(curves);
  $("halt").hidden = false;
  $("train-time").textContent = "Testing this device for training…";
  window.addEventListener("beforeunload", stay);
  const name = form.elements.name.value;
  const options = { patient: true };
  const done = await work("Testing the training kernels…", async (signal) => {
    const wrong = (await testRest()).find((check) => !check.ok);
    if (wrong) throw new Error(`This device computes ${wrong.variant} wrongly, so training here would go astray. Answers are not affected.`);
    signal.throwIfAborted();
    say("Training…", "busy");
    $("train-time").textContent = "Asking the model before it is trained…";
    const result = await call("train", { table, name, settings: settings() }, { onEvent });
    took(name, result.files, result.texts);
    adopted(result.info);
    return result;
  }, note, options);
  window.removeEventListener("beforeunload", stay);
  $("halt").hidden = true;
  if (!done) {
    $("train-time").textContent = "Nothing is running.";
    return;
  }
  const unkept = done.kept ? "" : " This browser has no room to keep it: download it before you leave.";
  const less = table.length < 20 ? ` ${aside(split(table))}` : "";
  $("train-time").textContent = `${plural(done.steps, "step")} in ${duration((performance.now() - start) / 1000)}, on ${plural(done.rows, "product")}.`;
  note.textContent = `“${name}” is trained and on.${unkept}${less}`;
  showTried(done.tried, table);
  form.dataset.done = done.steps;
  enable(true);
});
$("halt").onclick = cancel;

// ---- 3: trying it -------------------------------------------------------------------------------

/** The product that “Ask it for a price” is about. */
let next;

function showTried(tried, table) {
  next = tried[0] ? { ...tried[0].product } : { ...table[0], price: undefined };
  if (tried.length === 0) return $("before-after").replaceChildren();
  const heads = ["Product, never seen in training", "Real price", "Before", "After"];
  const row = ({ product, price, before, after }) => make("tr", {}, make("td", {}, product.title), ...[price, before, after].map((value) => make("td", { class: "number" }, dollars(value))));
  return $("before-after").replaceChildren(make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((text, i) => make("th", i === 0 ? { scope: "col" } : { scope: "col", class: "number" }, text)))),
    make("tbody", {}, ...tried.slice(0, 4).map(row))));
}
$("try-price").onclick = async () => {
  show("price");
  if (next) await askFor(next);
};
