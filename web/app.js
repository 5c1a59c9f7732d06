// The page: forms in, answers out. All work is in the worker.
import { distribution, line } from "./charts.js";
import { isAdapter } from "./files.js";
import { products } from "./table.js";
import { zip } from "./zip.js";

const $ = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && typeof value !== "string") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};
const seconds = (s) => (s < 10 ? `${s.toFixed(2)} s` : `${s.toFixed(0)} s`);
const size = (n) => (n > 1e9 ? `${(n / 1e9).toFixed(2)} GB` : `${(n / 1e6).toFixed(1)} MB`);

const EXAMPLES = [
  { title: "0.31 carat diamond, ideal cut, colour E, clarity VS1", category: "Ideal cut" },
  { title: "0.70 carat diamond, fair cut, colour J, clarity SI2", category: "Fair cut" },
  { title: "0.40 carat diamond, premium cut, colour D, clarity VVS2", category: "Premium cut" },
];

// ---- the worker -------------------------------------------------------------------------------------------------

let worker;
let waiting = new Map();
let next = 1;

/** A worker that inherits this page's security policy: one that is fetched from an address has none. */
function startWorker() {
  worker?.terminate();
  for (const { reject } of waiting.values()) reject(Object.assign(new Error("The device was started again."), { name: "Restarted" }));
  waiting = new Map();
  const code = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  worker = new Worker(address, { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.event === "lost") return lost();
    const call = waiting.get(data.id);
    if (!call) return;
    if (data.event !== undefined) return call.onEvent?.(data.event);
    waiting.delete(data.id);
    if (data.error) call.reject(Object.assign(new Error(data.error.message), { name: data.error.name }));
    else call.resolve(data.result);
  };
  worker.onerror = (event) => trouble(`The page's worker stopped: ${event.message || "it could not be loaded"}. Start again, or reload the page.`);
}

function call(method, args, { onEvent, signal } = {}) {
  const id = next++;
  signal?.addEventListener("abort", () => worker.postMessage({ abort: id }));
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, onEvent });
    worker.postMessage({ id, method, args });
  });
}

// ---- state and trouble ------------------------------------------------------------------------------------------

const state = { model: null, gpu: null, busy: false, tested: null, restTested: null, source: null, added: [], price: 0 };

function say(text, kind = "") {
  $("status-text").textContent = text;
  $("dot").className = `dot ${kind}`;
}

function trouble(text, button = "Start again") {
  $("trouble-text").textContent = text;
  $("trouble").hidden = false;
  $("again").textContent = button;
  $("progress").hidden = true;
  say("Not running", "bad");
  enable(false);
}

function sentence(error) {
  const hints = {
    NoAdapter: " In Chrome, chrome://gpu says why. The other parts of this page need a device.",
    OutOfMemory: " Try a smaller model, close other tabs that use the GPU, or use the built-in model.",
    DeviceLost: " Start again: the model is loaded anew.",
  };
  return `${error.message}${hints[error.name] ?? ""}`;
}

function lost() {
  if (!$("trouble").hidden) return;
  trouble("The graphics device was lost: the driver was reset, or another program took its memory. Start again loads the model anew; what was typed stays.");
}

function enable(on) {
  state.busy = !on;
  const ready = on && state.model !== null;
  for (const id of ["ask", "go", "start", "test-rest", "adapter"]) $(id).disabled = !ready;
  $("scale").disabled = !ready || !$("adapter").value;
  $("save").disabled = !ready || !$("adapter").value;
}

/** Runs one thing at a time; trouble becomes a sentence in `note`, or above everything if the device is gone. */
async function work(text, run, note) {
  if (state.busy) return undefined;
  enable(false);
  say(text, "busy");
  try {
    const result = await run();
    say(ready());
    return result;
  } catch (error) {
    if (error.name === "Restarted") return undefined;
    if (["DeviceLost", "NoAdapter"].includes(error.name)) trouble(sentence(error));
    else if (error.name === "AbortError") say(ready());
    else {
      say(ready());
      if (note) note.textContent = sentence(error);
      else trouble(sentence(error), "Dismiss");
    }
    return undefined;
  } finally {
    $("progress").hidden = true;
    if ($("trouble").hidden) enable(true);
    else state.busy = false;
  }
}

const ready = () => (state.model ? `Ready: ${state.model.name}, ${(state.model.parameters / 1e6).toFixed(1)} million parameters` : "No model");

function onProgress({ phase, loaded, total }) {
  const bar = $("progress");
  bar.hidden = false;
  if (total > 0) bar.value = loaded / total;
  else bar.removeAttribute("value");
  say(`${phase === "download" ? "Downloading" : "Loading"} ${size(loaded)}${total ? ` of ${size(total)}` : ""}`, "busy");
}

// ---- start ------------------------------------------------------------------------------------------------------

async function begin() {
  $("trouble").hidden = true;
  state.busy = false;
  startWorker();
  const source = state.source ?? (() => call("loadEmbedded", {}, { onEvent: onProgress }));
  await work("Opening the device…", async () => {
    state.gpu = await call("open");
    showDevice();
    await adopt(source, state.source === null);
    for (const { name, files } of state.source === null ? [] : state.added) {
      adopted(await call("addAdapter", { name, files }));
    }
  });
  if (state.model && $("trouble").hidden) await ask();
}

/** Loads a model, tests the kernels it needs, and adds the built-in adapters where it is the built-in one. */
async function adopt(load, isEmbedded) {
  state.model = null;
  state.restTested = null;
  const start = performance.now();
  const info = await load();
  state.loadSeconds = (performance.now() - start) / 1000;
  say("Testing this device's kernels…", "busy");
  const begun = performance.now();
  const checks = await call("selfTest", { rest: false });
  state.testSeconds = (performance.now() - begun) / 1000;
  showTests(checks);
  const wrong = checks.find((check) => !check.ok);
  if (wrong) {
    throw Object.assign(new Error(`This device computes ${wrong.variant} wrongly (error ${wrong.error.toExponential(1)}, allowed ${wrong.bound.toExponential(1)}), so its answers would be wrong. Update the graphics driver or the browser, or open this page in another browser.`), { name: "SelfTest" });
  }
  adopted(info);
  if (isEmbedded) adopted(await call("embeddedAdapters"));
  showDevice();
  await showPrompt();
}

function adopted(info) {
  state.model = info;
  const select = $("adapter");
  select.replaceChildren(make("option", { value: "" }, "none (base model)"), ...info.adapters.map((name) => make("option", { value: name }, name)));
  select.value = info.adapter ?? "";
  const list = info.adapters.map((name) => {
    const save = make("button", { type: "button" }, "Download");
    save.setAttribute("aria-label", `Download ${name}`);
    save.onclick = () => saveAdapter(name);
    return make("li", {}, make("span", { class: "name" }, name), save);
  });
  $("adapters").replaceChildren(...(list.length ? list : [make("li", { class: "quiet" }, "None.")]));
}

// ---- price ------------------------------------------------------------------------------------------------------

const product = () => Object.fromEntries([...new FormData($("product"))].map(([key, value]) => [key, String(value)]));

async function showPrompt() {
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
  const facts = `${seconds(answer.seconds)}, ${answer.promptTokens} tokens of prompt, ${(answer.promptTokens / answer.seconds).toFixed(0)} tokens/s`;
  block.append(
    make("h3", {}, title),
    make("p", { class: "price" }, `$${answer.price.toFixed(0)}`),
    make("p", {}, `80 % between $${answer.low.toFixed(0)} and $${answer.high.toFixed(0)}; mean $${answer.mean.toFixed(0)}, most probable $${answer.mode.toFixed(0)}`),
    distribution(answer),
    make("p", { class: "quiet" }, `It writes “${answer.text}”. ${(100 * answer.mass).toFixed(1)} % of its probability is on prices.`),
    make("p", { class: "quiet" }, facts),
    make("details", {}, make("summary", {}, "What may come next"), tokenTable(answer.next)),
  );
  $("answers").append(block);
}

async function ask() {
  await work("Answering…", async () => {
    const asked = product();
    const adapter = $("adapter").value || null;
    $("answer").setAttribute("aria-busy", "true");
    try {
      $("answers").replaceChildren();
      $("answer-empty").hidden = true;
      if (adapter) showAnswer("tuned", `Fine-tuned: ${adapter}`, await call("price", { product: asked, adapter }));
      showAnswer("base", "Base model", await call("price", { product: asked, adapter: null }));
      if (adapter) await call("setAdapter", { name: adapter });
      state.price += 1;
      document.body.dataset.answers = state.price;
    } finally {
      $("answer").setAttribute("aria-busy", "false");
    }
  });
}

$("product").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
$("product").addEventListener("input", () => state.model && !state.busy && showPrompt());
EXAMPLES.forEach((example) => {
  const chip = make("button", { type: "button" }, example.title.split(",")[0]);
  chip.title = example.title;
  chip.onclick = () => {
    fill(example);
    if (state.model && !state.busy) showPrompt().then(ask);
  };
  $("examples").append(chip);
});
function fill(example) {
  for (const field of ["title", "category", "brand", "description", "details"]) $("product").elements[field].value = example[field] ?? "";
}

// ---- adapters ---------------------------------------------------------------------------------------------------

$("adapter").addEventListener("change", async () => {
  const name = $("adapter").value || null;
  await work("Switching the adapter…", async () => adopted(await call("setAdapter", { name })));
  if (state.price > 0) await ask();
});
$("scale").addEventListener("input", () => { $("scale-out").textContent = Number($("scale").value).toFixed(2); });
$("scale").addEventListener("change", async () => {
  const [name, factor] = [$("adapter").value, Number($("scale").value)];
  await work("Changing the strength…", () => call("setScale", { name, factor }));
  if (state.price > 0) await ask();
});

async function saveAdapter(name) {
  const files = await work("Collecting the adapter…", () => call("adapterFiles", { name }));
  if (!files) return;
  const archive = zip([
    { name: `${name}/adapter_config.json`, bytes: files.config },
    { name: `${name}/adapter_model.safetensors`, bytes: files.weights },
  ]);
  const link = make("a", { href: URL.createObjectURL(archive), download: `${name}.zip` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
$("save").onclick = () => saveAdapter($("adapter").value);

// ---- free text --------------------------------------------------------------------------------------------------

let writing;
$("write").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = $("write").elements;
  const number = (name) => (form[name].value === "" ? undefined : Number(form[name].value));
  const options = { temperature: number("temperature"), topK: number("topK"), topP: number("topP"), seed: number("seed"), maxTokens: number("maxTokens") };
  const prompt = form.prompt.value;
  writing = new AbortController();
  $("stop").disabled = false;
  $("text").replaceChildren(make("span", { class: "given" }, prompt));
  $("text-facts").textContent = "";
  const onEvent = ({ text }) => text !== undefined && $("text").append(text);
  const summary = await work("Writing…", () => call("generate", { prompt, options }, { onEvent, signal: writing.signal }), $("text-facts"));
  $("stop").disabled = true;
  if (summary) {
    const speed = summary.decodeTokensPerSecond;
    $("text-facts").textContent = `${summary.tokens.length} tokens${speed ? `, ${speed.toFixed(1)} a second` : ""}; prompt of ${summary.promptTokens} tokens in ${seconds(summary.prefillSeconds)}; ended by ${summary.finish}.`;
  }
});
$("stop").onclick = () => writing?.abort();

// ---- training ---------------------------------------------------------------------------------------------------

let training;
function showCharts(losses, errors, total) {
  $("loss-chart").replaceChildren(line(losses, { title: "Loss", total }));
  $("error-chart").replaceChildren(line(errors, { title: "Mean error on the rows that stayed out", total, unit: "$", second: true, dots: true }));
}

$("train").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = $("train").elements;
  const note = $("train-note");
  note.textContent = "";
  let table;
  try {
    table = products(form.table.value);
  } catch (error) {
    note.textContent = error.message;
    form.table.focus();
    return;
  }
  training = new AbortController();
  const [losses, errors] = [[], []];
  const settings = {
    maxSteps: Number(form.maxSteps.value), rank: Number(form.rank.value), loraAlpha: 2 * Number(form.rank.value), loraDropout: 0,
    learningRate: Number(form.learningRate.value), batchSize: Number(form.batchSize.value), gradientAccumulationSteps: 1,
    targetModules: "all-linear", lrSchedulerType: "cosine",
  };
  const onEvent = ({ line: step, error }) => {
    if (!step) return;
    losses.push([step.step, step.loss]);
    if (error !== undefined) errors.push([step.step, error]);
    showCharts(losses, errors, step.total);
    say(`Training: step ${step.step} of ${step.total}, loss ${step.loss.toFixed(3)}`, "busy");
    $("train").dataset.step = step.step;
  };
  $("halt").disabled = false;
  const done = await work("Testing the training kernels…", async () => {
    if (!state.restTested) {
      const checks = await call("selfTest", { rest: true });
      showTests(checks, true);
      state.restTested = checks;
    }
    const wrong = state.restTested.find((check) => !check.ok);
    if (wrong) throw new Error(`This device computes ${wrong.variant} wrongly, so training here would go astray. Answers are not affected.`);
    say("Training…", "busy");
    const result = await call("train", { table, name: form.name.value, settings }, { onEvent, signal: training.signal });
    adopted(result.info);
    return result;
  }, note);
  $("halt").disabled = true;
  if (done) {
    note.textContent = `${done.steps} steps on ${done.rows} rows. The adapter “${form.name.value}” is on: ask for a price, or download it.`;
    $("train").dataset.done = done.steps;
    enable(true);
  }
});
$("halt").onclick = () => training?.abort();
$("sample").onclick = async () => {
  const response = await fetch("embedded/products.csv").catch(() => null);
  if (response?.ok) $("train").elements.table.value = (await response.text()).split("\n").slice(0, 201).join("\n");
  else $("train-note").textContent = "This copy of the page has no sample table.";
};
$("csv").onchange = async ({ target }) => {
  if (target.files[0]) $("train").elements.table.value = await target.files[0].text();
  target.value = "";
};

// ---- models -----------------------------------------------------------------------------------------------------

async function take(list) {
  const files = [...list];
  const note = $("models-note");
  note.textContent = "";
  if (files.length === 0) return;
  if (isAdapter(files)) {
    const folder = files[0].webkitRelativePath?.split("/").slice(-2, -1)[0];
    const name = (folder || files[0].folder || "dropped").replace(/[^A-Za-z0-9_-]/g, "-");
    const added = await work("Adding the adapter…", () => call("addAdapter", { name, files }), note);
    if (added) {
      adopted(added);
      state.added.push({ name, files });
      note.textContent = `The adapter “${name}” is on.`;
      enable(true);
    }
    return;
  }
  const source = () => call("loadFiles", { files }, { onEvent: onProgress });
  await change(source, note);
}

async function change(source, note) {
  const before = { source: state.source, model: state.model };
  const done = await work("Loading the model…", async () => {
    await adopt(source, false);
    return true;
  }, note);
  if (done) {
    state.source = source;
    state.added = [];
    note.textContent = `${state.model.name} is loaded (${seconds(state.loadSeconds)}).`;
    $("answers").replaceChildren();
    $("answer-empty").hidden = false;
    $("answer-empty").textContent = "Ask for a price.";
  } else if (before.model && !state.model) {
    // The old model still answers: the worker lets go of it only when the new one is there.
    adopted(before.model);
    say(ready());
  }
  enable(state.model !== null);
}

for (const id of ["files", "folder"]) {
  $(id).onchange = ({ target }) => {
    const files = [...target.files];
    target.value = "";
    take(files);
  };
}
$("builtin").onclick = async () => {
  state.source = null;
  await work("Loading the built-in model…", async () => adopt(() => call("loadEmbedded", {}, { onEvent: onProgress }), true), $("models-note"));
};

/** Files of a drop, folders opened. */
async function dropped(items) {
  const out = [];
  const walk = async (entry, folder) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (folder) file.folder = folder;
      out.push(file);
    } else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (some.length === 0) break;
        for (const one of some) await walk(one, entry.name);
      }
    }
  };
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  for (const entry of entries) await walk(entry);
  return out;
}
for (const [type, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  window.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", over);
  });
}
window.addEventListener("drop", async (event) => {
  show("models");
  take(await dropped(event.dataTransfer.items));
});

let loading;
async function download(url) {
  const note = $("models-note");
  loading = new AbortController();
  $("pause").disabled = false;
  const onEvent = (progress) => {
    onProgress(progress);
    note.textContent = `${progress.file ?? "files"}: ${size(progress.loaded)} of ${size(progress.total)}`;
  };
  try {
    const id = await call("download", { url }, { onEvent, signal: loading.signal });
    note.textContent = "Downloaded.";
    await showCached();
    await change(() => call("loadCached", { id }, { onEvent: onProgress }), note);
  } catch (error) {
    note.textContent = error.name === "AbortError" ? "Paused. What has come stays; resume below." : sentence(error);
    say(ready());
    await showCached();
  } finally {
    $("progress").hidden = true;
    $("pause").disabled = true;
  }
}
$("address").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!state.busy) download($("address").elements.url.value);
});
$("pause").onclick = () => loading?.abort();

async function showCached() {
  let list = [];
  try {
    list = await call("cached");
  } catch (error) {
    $("cached").replaceChildren(make("li", { class: "quiet" }, sentence(error)));
    return;
  }
  const rows = list.map(({ id, name, url, loaded, total, complete }) => {
    const use = make("button", { type: "button" }, complete ? "Use" : "Resume");
    use.setAttribute("aria-label", `${complete ? "Use" : "Resume"} ${name}`);
    use.onclick = () => (complete ? change(() => call("loadCached", { id }, { onEvent: onProgress }), $("models-note")) : download(url));
    const gone = make("button", { type: "button" }, "Delete");
    gone.setAttribute("aria-label", `Delete ${name}`);
    gone.onclick = async () => {
      await call("deleteCached", { id }).catch((error) => { $("models-note").textContent = sentence(error); });
      await showCached();
    };
    const much = complete ? size(total) : `${size(loaded)} of ${size(total)}`;
    return make("li", {}, make("span", { class: "name" }, `${name} (${much})`), use, gone);
  });
  $("cached").replaceChildren(...(rows.length ? rows : [make("li", { class: "quiet" }, "No downloaded models.")]));
}

// ---- device -----------------------------------------------------------------------------------------------------

function showDevice() {
  const { gpu, model } = state;
  const rows = [
    ["Adapter", `${gpu.name || "not named by the browser"}${gpu.software ? " (software: the processor computes)" : ""}`],
    ...(gpu.driver ? [["Driver", gpu.driver]] : []),
    ["16-bit floats", gpu.f16 ? "yes" : "no (not needed)"],
    ["Subgroups", gpu.subgroup_max ? `${gpu.subgroup_min} to ${gpu.subgroup_max}` : "not used (not needed)"],
    ["Largest buffer", size(gpu.max_buffer_bytes)],
    ["Largest binding", size(gpu.max_binding_bytes)],
    ["Workgroup", `${gpu.max_workgroup_size} invocations, ${(gpu.max_workgroup_bytes / 1024).toFixed(0)} KiB`],
  ];
  if (navigator.deviceMemory) rows.push(["Memory of the computer", `${navigator.deviceMemory} GB or more`]);
  if (model) {
    rows.push(["Model", `${model.name}: ${model.layers} layers, width ${model.hiddenSize}, vocabulary ${model.vocabSize}`]);
    rows.push(["Model's memory", `${size(model.weightBytes)} on the device`]);
    rows.push(["Loaded in", seconds(state.loadSeconds)], ["Self-test took", seconds(state.testSeconds)]);
  }
  $("device").replaceChildren(make("tbody", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value))))));
}

function showTests(checks, more = false) {
  if (!more) state.tested = checks;
  const all = more ? [...state.tested, ...checks] : checks;
  const wrong = all.filter((check) => !check.ok).length;
  $("test-facts").textContent = `${all.length} kernels compared with a plain calculation on the processor; ${wrong === 0 ? "all agree" : `${wrong} disagree`}.`;
  $("tests").tBodies[0].replaceChildren(...all.map(({ variant, error, bound, ok }) => make("tr", {},
    make("td", {}, variant), make("td", {}, error.toExponential(1)), make("td", {}, bound.toExponential(0)),
    make("td", ok ? {} : { class: "bad" }, ok ? "agrees" : "WRONG"))));
}
$("test-rest").onclick = () => work("Testing the training kernels…", async () => {
  state.restTested = await call("selfTest", { rest: true });
  showTests(state.restTested, true);
});

// ---- tabs -------------------------------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll("[role=tab]")];
function show(name) {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (name === "models") showCached();
}
tabs.forEach((tab, i) => {
  tab.onclick = () => show(tab.id.slice(4));
  tab.onkeydown = ({ key }) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[key];
    if (to === undefined) return;
    const other = tabs[(to + tabs.length) % tabs.length];
    show(other.id.slice(4));
    other.focus();
  };
});

$("again").onclick = () => {
  if ($("again").textContent !== "Dismiss") return begin();
  $("trouble").hidden = true;
  say(ready());
  enable(true);
  return undefined;
};
fill(EXAMPLES[0]);
showCharts([], [], 1);
begin();
