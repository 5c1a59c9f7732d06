// The user's own products and prices into an adapter.
import { adopted, keep } from "./adapters.js";
import { fitted, line } from "./charts.js";
import { precision, testRest } from "./device.js";
import { $ } from "./dom.js";
import { call, enable, say, work } from "./engine.js";
import { products } from "./table.js";

const form = $("train");
let training;

function showCharts(losses, errors, total) {
  $("loss-chart").replaceChildren(fitted("curve", (width) => line(losses, { title: "Loss", total, width })));
  $("error-chart").replaceChildren(fitted("curve", (width) => line(errors, { title: "Mean error, rows left out", total, width, unit: "$", second: true, dots: true })));
}

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
  training = new AbortController();
  const [losses, errors] = [[], []];
  const onEvent = ({ line: step, error }) => {
    if (!step) return;
    losses.push([step.step, step.loss]);
    if (error !== undefined) errors.push([step.step, error]);
    showCharts(losses, errors, step.total);
    say(`Training: step ${step.step} of ${step.total}, loss ${step.loss.toFixed(3)}`, "busy");
    form.dataset.step = step.step;
  };
  $("halt").disabled = false;
  const name = form.elements.name.value;
  const done = await work("Testing the training kernels…", async () => {
    const wrong = (await testRest()).find((check) => !check.ok);
    if (wrong) throw new Error(`This device computes ${wrong.variant} wrongly, so training here would go astray. Answers are not affected.`);
    say("Training…", "busy");
    const result = await call("train", { table, name, settings: settings() }, { onEvent, signal: training.signal });
    keep(name, await call("adapterFiles", { name }));
    adopted(result.info);
    return result;
  }, note);
  $("halt").disabled = true;
  if (!done) return;
  const unused = table.unused.length > 0 ? ` Columns that were not used: ${table.unused.join(", ")}.` : "";
  note.textContent = `${done.steps} steps on ${done.rows} rows. The adapter “${name}” is on: ask for a price, or download it.${unused}`;
  form.dataset.done = done.steps;
  enable(true);
});
$("halt").onclick = () => training?.abort();

$("sample").onclick = async () => {
  const response = await fetch("embedded/products.csv").catch(() => null);
  if (response?.ok) form.elements.table.value = (await response.text()).split("\n").slice(0, 201).join("\n");
  else $("train-note").textContent = "This copy of the page has no sample table.";
};
/** A table's file in the place of what is there. */
export async function takeTable(file) {
  form.elements.table.value = await file.text();
}
$("csv").onchange = async ({ target }) => {
  if (target.files[0]) await takeTable(target.files[0]);
  target.value = "";
};
showCharts([], [], 1);
