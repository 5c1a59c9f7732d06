// The worker behind the page: calls to it, one job at a time, and what is said when something goes
// wrong.
import { $, size } from "./dom.js";

/** What the page knows. */
export const state = {
  model: null, gpu: null, busy: false, tested: [], restTested: null, loadSeconds: 0, testSeconds: 0,
  /** How often a model was loaded. */
  loads: 0,
  /** How to load the chosen model again; `null` is the built-in one. */
  source: null,
  /** Files of adapters that were dropped or trained here, to add them again after a restart. */
  added: [],
  /** What is known of the texts that adapters were trained on, by their names. */
  texts: new Map(),
  /** Strengths of adapters that are not as they were trained, by name. */
  scales: new Map(),
};

let worker;
let waiting = new Map();
let next = 1;
/** What is running: `{controller, forced, calls, patient, timers}`. */
let job;
/** Calls of a cancelled job that the device has not let go of yet. */
let leftover;
/** A job that takes longer than this says for how long, and can be cancelled. */
const SHORT_MS = 1000;
/** So long after Cancel a job has ended for who waits for it … */
const GRACE_MS = 500;
/** … and so long the next one waits for the device, before its worker is ended. */
const PATIENCE_MS = 8000;

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

/** Calls a method of worker.js; ends with what is running when that is cancelled. */
export function call(method, args, { onEvent, signal = job?.controller.signal } = {}) {
  const id = next++;
  signal?.addEventListener("abort", () => worker.postMessage({ abort: id }));
  const answer = new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, onEvent });
    worker.postMessage({ id, method, args });
  });
  job?.calls.push(answer);
  return answer;
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

const NEED_A_MODEL = ["ask", "go", "start", "test-rest", "adapter", "half", "try-price"];
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

const cancelled = () => Object.assign(new Error("Cancelled."), { name: "AbortError" });

function begin(patient) {
  const start = performance.now();
  const tell = () => {
    if (performance.now() - start < SHORT_MS) return;
    $("waiting").hidden = false;
    $("elapsed").textContent = `${Math.floor((performance.now() - start) / 1000)} s`;
  };
  $("cancel").textContent = "Cancel";
  return { controller: new AbortController(), forced: new AbortController(), calls: [], patient, timer: setInterval(tell, SHORT_MS / 4) };
}

function end(own) {
  clearInterval(own.timer);
  job = undefined;
  $("waiting").hidden = true;
  $("progress").hidden = true;
}

/**
 * Ends what is running. A pass over the model ends by itself, so soon or late: nobody waits for it.
 * A patient job has something to lose by that, and is asked for a second time.
 */
export function cancel() {
  const now = job;
  if (!now) return;
  const again = now.controller.signal.aborted;
  now.controller.abort();
  say("Stopping…", "busy");
  if (now.patient && !again) $("cancel").textContent = "Stop at once and lose it";
  else setTimeout(() => now.forced.abort(), again ? 0 : GRACE_MS);
}

let reload;
/** How to load the model again in a worker that was just started. */
export function onReload(act) {
  reload = act;
}

/**
 * Waits until the device has let go of what was cancelled. A worker that does not is ended, and the
 * model loaded anew.
 */
async function settled(words) {
  if (!leftover) return;
  say("Waiting for the device…", "busy");
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, "late"));
  const how = await Promise.race([leftover, late]);
  leftover = undefined;
  if (how === "late") {
    say("Loading the model again…", "busy");
    startWorker();
    await reload();
  }
  say(words, "busy");
}

/**
 * Runs one job at a time; trouble becomes a sentence in `note`, or above everything without one or
 * without a device. A `patient` job ends by itself when cancelled, and keeps what it has.
 */
export async function work(text, run, note, { patient = false } = {}) {
  if (state.busy) return undefined;
  enable(false);
  say(text, "busy");
  const own = begin(patient);
  job = own;
  const forced = new Promise((_, reject) => own.forced.signal.addEventListener("abort", () => reject(cancelled())));
  const running = async () => {
    await settled(text);
    return run(own.controller.signal);
  };
  try {
    const result = await Promise.race([running(), forced]);
    say(ready());
    return result;
  } catch (error) {
    if (own.forced.signal.aborted) leftover = Promise.allSettled(own.calls);
    if (error.name === "Restarted") return undefined;
    if (["DeviceLost", "Device", "NoAdapter"].includes(error.name)) trouble(sentence(error));
    else if (error.name === "AbortError" && !state.model) trouble("Loading was cancelled.");
    else {
      say(error.name === "AbortError" ? `${ready()} (cancelled)` : ready());
      if (error.name === "AbortError") return undefined;
      if (note) note.textContent = sentence(error);
      else trouble(sentence(error), "Dismiss");
    }
    return undefined;
  } finally {
    if (job === own) end(own);
    if ($("trouble").hidden) enable(true);
    else state.busy = false;
  }
}
$("cancel").onclick = cancel;

/** The bar under the status line: the share that is done, unknown without one. */
export function showShare(share) {
  const bar = $("progress");
  bar.hidden = false;
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

/** Progress of downloads and of loading. */
export function onProgress({ phase, loaded, total }) {
  showShare(total > 0 ? loaded / total : undefined);
  say(`${phase === "download" ? "Downloading" : "Loading"} ${size(loaded)}${total ? ` of ${size(total)}` : ""}`, "busy");
}
