// The worker behind the page: calls to it, one job at a time, and what is said when something goes
// wrong.
import { $, size } from "./dom.js";

/** What the page knows. */
export const state = {
  model: null, gpu: null, busy: false, tested: [], restTested: null, loadSeconds: 0, testSeconds: 0,
  /** How to load the chosen model again; `null` is the built-in one. */
  source: null,
  /** Files of adapters that were dropped or trained here, to add them again after a restart. */
  added: [],
  /** Strengths of adapters that are not as they were trained, by name. */
  scales: new Map(),
};

let worker;
let waiting = new Map();
let next = 1;

/**
 * A worker that inherits this page's security policy: one that is fetched from an address has none.
 */
export function startWorker() {
  worker?.terminate();
  for (const { reject } of waiting.values()) reject(Object.assign(new Error("The device was started again."), { name: "Restarted" }));
  waiting = new Map();
  const code = `import ${JSON.stringify(new URL("../worker.js", import.meta.url).href)};`;
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  worker = new Worker(address, { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.event === "lost") return lost();
    const call = waiting.get(data.id);
    if (!call) return undefined;
    if (data.event !== undefined) return call.onEvent?.(data.event);
    waiting.delete(data.id);
    if (data.error) return call.reject(Object.assign(new Error(data.error.message), data.error));
    return call.resolve(data.result);
  };
  worker.onerror = (event) => trouble(`The page's worker stopped: ${event.message || "it could not be loaded"}. Start again, or reload the page.`);
}

/** Calls a method of worker.js. */
export function call(method, args, { onEvent, signal } = {}) {
  const id = next++;
  signal?.addEventListener("abort", () => worker.postMessage({ abort: id }));
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, onEvent });
    worker.postMessage({ id, method, args });
  });
}

export function say(text, kind = "") {
  $("status-text").textContent = text;
  $("dot").className = `dot ${kind}`;
}

/** A sentence above everything, with a button that starts again or dismisses it. */
export function trouble(text, button = "Start again") {
  $("trouble-text").textContent = text;
  $("trouble").hidden = false;
  $("again").textContent = button;
  $("progress").hidden = true;
  say("Not running", "bad");
  enable(false);
}

/** What went wrong and what to do about it. */
export function sentence(error) {
  if (error.name === "OutOfMemory" && error.neededBytes) {
    return `Too little memory: ${error.what} would take ${size(error.neededBytes)}, and ${size(error.limitBytes)} are there. ` +
      "Use a smaller model or a smaller batch, or close other tabs and programs that use the GPU.";
  }
  const hints = {
    NoAdapter: " In Chrome, chrome://gpu says why. The other parts of this page need a device.",
    OutOfMemory: " Try a smaller model, or close other tabs that use the GPU.",
    Device: " Start again: the model is loaded anew. If that does not help, use a smaller model, or close other tabs that use the GPU.",
    DeviceLost: " Start again: the model is loaded anew.",
  };
  return `${error.message}${hints[error.name] ?? ""}`;
}

function lost() {
  if (!$("trouble").hidden) return;
  trouble("The graphics device was lost: the driver was reset, or another program took its memory. Start again loads the model anew; what was typed stays.");
}

const NEED_A_MODEL = ["ask", "go", "start", "test-rest", "adapter", "half"];
const NEED_AN_ADAPTER = ["scale", "save"];

/** Buttons that need a model, and those that need an adapter. */
export function enable(on) {
  state.busy = !on;
  const ready = on && state.model !== null;
  for (const id of NEED_A_MODEL) $(id).disabled = !ready;
  for (const id of NEED_AN_ADAPTER) $(id).disabled = !ready || !$("adapter").value;
}

/** What the status line says between jobs. */
export const ready = () => (state.model ? `Ready: ${state.model.name}, ${(state.model.parameters / 1e6).toFixed(1)} million parameters` : "No model");

/**
 * Runs one job at a time; trouble becomes a sentence in `note`, or above everything without one or
 * without a device.
 */
export async function work(text, run, note) {
  if (state.busy) return undefined;
  enable(false);
  say(text, "busy");
  try {
    const result = await run();
    say(ready());
    return result;
  } catch (error) {
    if (error.name === "Restarted") return undefined;
    if (["DeviceLost", "Device", "NoAdapter"].includes(error.name)) trouble(sentence(error));
    else {
      say(ready());
      if (error.name === "AbortError") return undefined;
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

/** The bar under the status line, for downloads and loading. */
export function onProgress({ phase, loaded, total }) {
  const bar = $("progress");
  bar.hidden = false;
  if (total > 0) bar.value = loaded / total;
  else bar.removeAttribute("value");
  say(`${phase === "download" ? "Downloading" : "Loading"} ${size(loaded)}${total ? ` of ${size(total)}` : ""}`, "busy");
}
