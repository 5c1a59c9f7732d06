// Models and adapters from pickers, drops and addresses; the list of what is kept.
import { addressOf } from "../addresses.js";
import { adapterFolder, isAdapter, named } from "../files.js";
import { adopted, restore, took } from "./adapters.js";
import { clearAnswer } from "./answer.js";
import { memoryLimit, precision, showDevice, showTests } from "./device.js";
import { $, button, make, seconds, sentenceOf, size } from "./dom.js";
import { call, enable, onProgress, ready, say, sentence, state, work } from "./engine.js";
import { showExamples, showPrompt } from "./price.js";
import { onShow, show } from "./tabs.js";
import { takeTable } from "./training.js";

const note = $("models-note");

/** Opens the device. */
export async function open() {
  state.gpu = await call("open", { memoryBytes: memoryLimit() });
  showDevice();
}

/**
 * Loads a model, tests the kernels it needs, and adds the built-in adapters where it is the
 * built-in one.
 */
export async function adopt(source) {
  const load = source ?? (() => call("loadEmbedded", {}, { onEvent: onProgress }));
  state.model = null;
  state.restTested = null;
  const start = performance.now();
  await load();
  state.loadSeconds = (performance.now() - start) / 1000;
  say("Testing this device's kernels…", "busy");
  const begun = performance.now();
  const { info, checks, wrong } = await call("setPrecision", { precision: precision() });
  state.testSeconds = (performance.now() - begun) / 1000;
  showTests(checks);
  if (wrong) {
    const numbers = `error ${wrong.error.toExponential(1)}, allowed ${wrong.bound.toExponential(1)}`;
    throw Object.assign(new Error(`This device computes ${wrong.variant} wrongly (${numbers}), so its answers would be wrong. ` +
      "Update the graphics driver or the browser, or open this page in another browser."), { name: "SelfTest" });
  }
  state.loads += 1;
  adopted(info);
  if (!source) {
    const embedded = await call("embeddedAdapters");
    for (const [name, texts] of Object.entries(embedded.texts)) state.texts.set(name, texts);
    state.model = embedded.info;
  }
  await restore();
  showDevice();
  await showPrompt();
}

/** Another model in the place of the one that answers now. */
async function change(source) {
  const before = state.model;
  const done = await work("Loading the model…", async () => {
    await adopt(source);
    return true;
  }, note);
  if (done) {
    state.source = source;
    state.scales.clear();
    note.textContent = [`${state.model.name} is loaded (${seconds(state.loadSeconds)}).`, ...state.model.notes].join(" ");
    clearAnswer("Ask for a price.");
  } else if (before && !state.model && $("trouble").hidden) {
    // The old model still answers: the worker lets go of it only when the new one is there.
    adopted(before);
    say(ready());
  }
  if ($("trouble").hidden) enable(true);
}

async function addAdapter(files) {
  const folder = adapterFolder(files).split("/").pop();
  const name = (folder || "dropped").replace(/[^A-Za-z0-9_-]/g, "-");
  const added = await work("Adding the adapter…", () => call("addAdapter", { name, files }), note);
  if (!added) return;
  took(name, added.files, added.texts);
  adopted(added.info);
  note.textContent = [`The adapter “${name}” is on.`, ...added.notes.map(sentenceOf)].join(" ");
  await showPrompt();
  enable(true);
}

/** Files as `{name, blob}`, the name with its folders. */
async function take(files) {
  note.textContent = state.busy ? "Something is running. Choose the files again when it is done." : "";
  if (files.length === 0 || state.busy) return;
  if (files.length === 1 && /\.(csv|tsv)$/i.test(files[0].name)) {
    show("train");
    await takeTable(files[0].blob);
  } else if (isAdapter(files)) await addAdapter(files);
  else await change(() => call("loadFiles", { files }, { onEvent: onProgress }));
}

for (const id of ["files", "folder"]) {
  $(id).onchange = ({ target }) => {
    const files = [...target.files].map(named);
    target.value = "";
    take(files);
  };
}
$("builtin").onclick = () => change(null);

/** Files of a drop, folders opened. */
async function dropped(items) {
  const out = [];
  const walk = async (entry, folder) => {
    const name = `${folder}${entry.name}`;
    if (entry.isFile) {
      out.push({ name, blob: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) break;
      for (const one of some) await walk(one, `${name}/`);
    }
  };
  // All entries first: the list of a drop is emptied as soon as its event is over.
  const entries = [...items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile?.()).filter(Boolean);
  for (const entry of entries) {
    if (entry instanceof File) out.push(named(entry));
    else await walk(entry, "");
  }
  return out;
}
for (const [type, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  window.addEventListener(type, (event) => {
    // Text that is dragged goes where it always goes.
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.toggle("over", over);
    // Only once: what is under the pointer has to stay there, or nothing can be dropped on it.
    if (over && $("view-models").hidden) show("models");
  });
}
window.addEventListener("drop", async (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  show("models");
  try {
    await take(await dropped(event.dataTransfer.items));
  } catch (error) {
    note.textContent = `What was dropped cannot be read: ${error.message}`;
  }
});

// ---- addresses ----------------------------------------------------------------------------------

let loading;
async function download(text) {
  note.textContent = "";
  let url;
  try {
    url = addressOf(text);
  } catch (error) {
    note.textContent = sentence(error);
    return;
  }
  loading = new AbortController();
  $("pause").hidden = false;
  const onEvent = (progress) => {
    onProgress(progress);
    note.textContent = `${progress.file ?? "files"}: ${size(progress.loaded)} of ${size(progress.total)}`;
  };
  try {
    const id = await call("download", { url }, { onEvent, signal: loading.signal });
    note.textContent = "Downloaded.";
    await showCached();
    await change(() => call("loadCached", { id }, { onEvent: onProgress }));
  } catch (error) {
    note.textContent = error.name === "AbortError" ? "Paused. What has come stays; resume it from the list." : sentence(error);
    if ($("trouble").hidden) say(ready());
    await showCached();
  } finally {
    $("progress").hidden = true;
    $("pause").hidden = true;
  }
}
$("address").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!state.busy) download($("address").elements.url.value);
});
$("pause").onclick = () => loading?.abort();

/**
 * Models of the hub, smallest first: bytes to download, and of weights in memory. The project's own
 * tests run the first; the others are built alike.
 */
const HUB_MODELS = [
  { name: "HuggingFaceTB/SmolLM2-135M", about: "goes on with texts; tested", bytes: 269e6, memory: 0.11e9 },
  { name: "HuggingFaceTB/SmolLM2-135M-Instruct", about: "talks, a little", bytes: 269e6, memory: 0.11e9 },
  { name: "HuggingFaceTB/SmolLM2-360M-Instruct", about: "talks", bytes: 724e6, memory: 0.26e9 },
  { name: "TinyLlama/TinyLlama-1.1B-Chat-v1.0", about: "talks", bytes: 2.2e9, memory: 0.76e9 },
  { name: "unsloth/Llama-3.2-1B-Instruct", about: "talks well", bytes: 2.47e9, memory: 1.03e9 },
];

/** Whether a model's weights, and as much again for work on them, fit this device. */
function fits(memory) {
  const limit = memoryLimit();
  if (!state.gpu) return `takes ${size(memory)} of memory`;
  if (limit !== undefined) return 2 * memory < limit ? "fits this device" : "too large for this device";
  return navigator.deviceMemory === undefined ? `takes ${size(memory)} of memory` : "fits this device";
}

function showHubModels() {
  $("tested").replaceChildren(...HUB_MODELS.map(({ name, about, bytes, memory }) => make("li", {},
    make("span", { class: "name" }, `${name} `, make("span", { class: "quiet" }, `${about}. ${size(bytes)} to download, ${fits(memory)}`)),
    button("Download", `Download ${name}`, () => !state.busy && download(name)))));
}

async function showCached() {
  let list = [];
  try {
    list = await call("cached");
  } catch (error) {
    $("cached").replaceChildren(make("li", { class: "quiet" }, sentence(error)));
    return;
  }
  const rows = list.map(({ id, name, url, loaded, total, complete }) => {
    const [word, use] = complete
      ? ["Use", () => change(() => call("loadCached", { id }, { onEvent: onProgress }))]
      : ["Resume", () => download(url)];
    const gone = async () => {
      await call("deleteCached", { id }).catch((error) => { note.textContent = sentence(error); });
      await showCached();
    };
    const much = complete ? size(total) : `${size(loaded)} of ${size(total)}`;
    return make("li", {}, make("span", { class: "name" }, `${name} (${much})`), button(word, `${word} ${name}`, use), button("Delete", `Delete ${name}`, gone));
  });
  $("cached").replaceChildren(...(rows.length ? rows : [make("li", { class: "quiet" }, "No downloaded models.")]));
}
onShow("models", () => {
  showHubModels();
  return showCached();
});
