// wgpu-lora for the browser: Llama with QLoRA adapters on WebGPU. Types: wgpu_lora.d.ts.
import init, { WasmGpu, WasmModel, setTemplateRenderer } from "./wgpu_lora_wasm.js";
import { download } from "./addresses.js";
import { adapterFrom, gather } from "./files.js";

let started;

/**
 * Compiles the wasm once; `from` is its address or bytes where it does not lie beside this file.
 */
export function start(from) {
  started ??= init(from === undefined ? undefined : { module_or_path: from });
  return started;
}

let templates;

/**
 * Loads the language of chat templates once: a wasm of its own, for whoever has no chat need not
 * wait for it.
 */
function loadTemplates() {
  templates ??= import("./chat_template.js").then(async ({ default: load, render }) => {
    await load();
    setTemplateRenderer(render);
  });
  templates.catch(() => { templates = undefined; });
  return templates;
}

/** An Error whose `name` says what kind it is. */
export function failure(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

const snake = (key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * Runs `open` with a feature added to the devices it requests: wgpu's backend for browsers has no
 * name for subgroups.
 */
async function requesting(feature, open) {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = function request(descriptor = {}) {
    return requestDevice.call(this, { ...descriptor, requiredFeatures: [...(descriptor.requiredFeatures ?? []), feature] });
  };
  try {
    return await open();
  } finally {
    GPUAdapter.prototype.requestDevice = requestDevice;
  }
}

export class Gpu {
  /** @internal */
  constructor(wasm, name) {
    this.wasm = wasm;
    const info = wasm.info();
    /** Adapter, limits and kernel variants. */
    this.info = { ...info, name: info.name || name };
  }

  /** Opens the browser's best adapter. Throws `NoAdapter`. */
  static async create({ variant = "", memoryBytes } = {}) {
    if (!globalThis.navigator?.gpu) {
      const why = globalThis.isSecureContext === false
        ? "WebGPU needs https or localhost. Open this page from such an address."
        : "This browser has no WebGPU. Chrome and Edge from 113, Safari from 26 and Firefox from 141 have it.";
      throw failure("NoAdapter", why);
    }
    // Asked here first: the browser's own words for the adapter, and a plain sentence where there
    // is none.
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) {
      throw failure("NoAdapter", "This browser has WebGPU, but offers no graphics device for it. Turn on hardware acceleration " +
        "in its settings, update the graphics driver, or open the page in another browser.");
    }
    const { vendor = "", architecture = "", description = "" } = adapter.info ?? {};
    await start();
    const subgroups = variant !== "baseline" && adapter.features.has("subgroups");
    const open = () => WasmGpu.create(variant, memoryBytes, subgroups);
    return new Gpu(await (subgroups ? requesting("subgroups", open) : open()), description || `${vendor} ${architecture}`.trim());
  }

  /** Whether the driver has given the device up; only a new Gpu helps then. */
  get lost() {
    return this.wasm.isLost();
  }

  free() {
    this.wasm.free();
  }
}

export class Model {
  #wasm;
  #gpu;
  #last = Promise.resolve();
  /** Files beside adapters, by these' names. */
  #beside = new Map();

  /** @internal */
  constructor(gpu, wasm) {
    this.#gpu = gpu;
    this.#wasm = wasm;
  }

  /**
   * Loads a model from `url` (a folder, a .gguf or a .safetensors with its config beside it) or
   * from `files`. Throws `Format`, `MissingTensor`, `Unsupported`, `OutOfMemory`, `AbortError`, …
   */
  static async load(gpu, { url, files, name, quant = "nf4", precision = "f32", maxLength = 1024, onProgress, signal } = {}) {
    signal?.throwIfAborted();
    if (url !== undefined) {
      const tell = ({ loaded, total }) => onProgress?.({ phase: "download", loaded, total });
      files = await download(url, { onProgress: tell, signal });
      name ??= decodeURIComponent(new URL(url, globalThis.location?.href).pathname.split("/").filter(Boolean).pop() ?? "");
    }
    const gathered = await gather(files ?? [], name);
    signal?.throwIfAborted();
    const options = JSON.stringify({ quant, precision, maxLength });
    const tell = (loaded, total) => onProgress?.({ phase: "load", loaded, total });
    const model = new Model(gpu, await WasmModel.load(gpu.wasm, gathered, options, tell));
    if (signal?.aborted) {
      model.free();
      signal.throwIfAborted();
    }
    return model;
  }

  // One call at a time: the next one waits for the one before.
  async #alone(run) {
    const before = this.#last;
    let release;
    this.#last = new Promise((resolve) => { release = resolve; });
    await before;
    try {
      return await run(this.#wasm);
    } catch (error) {
      if (this.#gpu.lost && error instanceof Error) error.name = "DeviceLost";
      throw error;
    } finally {
      release();
    }
  }

  /** Sizes, adapters, and which of these is active. */
  get info() {
    return this.#wasm.info();
  }

  /**
   * Adds an adapter (PEFT's two files and what lies beside them, or the address of their folder)
   * and makes it the active one.
   */
  async addAdapter(name, source, { onProgress, signal } = {}) {
    const { config, weights, pricing, index } = await adapterFrom(source, { onProgress, signal });
    const notes = await this.#alone((wasm) => wasm.addAdapter(name, config, weights, pricing, index));
    this.#beside.set(name, { pricing, index });
    return notes;
  }

  async removeAdapter(name) {
    await this.#alone((wasm) => wasm.removeAdapter(name));
    this.#beside.delete(name);
  }

  /** Of the products in the index beside an adapter how many there are, and what they cost. */
  trainedOn(name) {
    return this.#wasm.trainedOn(name);
  }

  /** Makes the adapter `name` answer; `null` is the base model. */
  setAdapter(name) {
    return this.#alone((wasm) => wasm.setAdapter(name ?? undefined));
  }

  /** Multiplies an adapter's alpha/r: 0 is the base model, 1 as trained. */
  setScale(name, factor) {
    return this.#alone((wasm) => wasm.setScale(name, factor));
  }

  /**
   * Products at "f32", or "mixed": with factors of 16 bits where the device has them and gains by
   * it.
   */
  setPrecision(precision) {
    return this.#alone((wasm) => wasm.setPrecision(JSON.stringify(precision)));
  }

  /** PEFT's two files of the active adapter, and what lay beside them. */
  adapterFiles() {
    return this.#alone(async (wasm) => {
      const files = await wasm.adapterFiles();
      return { ...files, ...this.#beside.get(wasm.info().adapter) };
    });
  }

  /**
   * Runs this device's kernels against CPU twins: those an answer needs, or with `rest` all others.
   */
  selfTest({ rest = false } = {}) {
    return this.#alone((wasm) => wasm.selfTest(rest));
  }

  /** The `n` most probable next tokens. */
  nextTokens(prompt, n = 10) {
    return this.#alone((wasm) => wasm.nextTokens(prompt, n));
  }

  /**
   * What a product costs, as `predict` of the command line says it: greedy answer, the distribution
   * over whole-dollar prices, and what lies beside the adapter makes of it.
   * `onProgress` is told which share is done.
   */
  async predictPrice(product, { onProgress, signal } = {}) {
    signal?.throwIfAborted();
    const each = (share) => {
      onProgress?.(share);
      return !signal?.aborted;
    };
    const price = await this.#alone((wasm) => wasm.predictPrice(JSON.stringify(product), each));
    signal?.throwIfAborted();
    return price;
  }

  /** The prompt that `predictPrice` asks of a product. */
  pricePrompt(product) {
    return this.#wasm.pricePrompt(JSON.stringify(product));
  }

  /**
   * The row `{prompt, completion, price}` that teaches a product's price, given as a file writes
   * it: "$1,299.00".
   */
  priceRow(product, price) {
    return this.#wasm.priceRow(JSON.stringify(product), String(price));
  }

  #config(settings) {
    const config = { model: this.info.name, data: ["rows"] };
    for (const [key, value] of Object.entries(settings)) config[snake(key)] = value;
    return JSON.stringify(config);
  }

  /**
   * Bytes of everything on the device now, and what training with these settings would take in all.
   */
  memory(settings = {}) {
    return this.#alone((wasm) => wasm.memory(this.#config(settings)));
  }

  countTokens(text) {
    return this.#wasm.countTokens(text);
  }

  /** Tokens of `run(wasm, each)` as they come; `onFinish` is told its summary. */
  async *#stream(run, { signal, onFinish }) {
    signal?.throwIfAborted();
    const tokens = [];
    let wake = () => {};
    let stopped = false;
    let outcome;
    const each = (token) => {
      tokens.push(token);
      wake();
      return !stopped && !signal?.aborted;
    };
    const running = this.#alone((wasm) => run(wasm, each)).then(
      (summary) => { outcome = { summary }; },
      (error) => { outcome = { error }; },
    ).finally(() => wake());
    try {
      for (;;) {
        while (tokens.length > 0) yield tokens.shift();
        if (outcome) break;
        await new Promise((resolve) => {
          wake = resolve;
          if (tokens.length > 0 || outcome) resolve();
        });
      }
    } finally {
      stopped = true;
      await running;
    }
    if (outcome.error) throw outcome.error;
    onFinish?.(outcome.summary);
    signal?.throwIfAborted();
  }

  /**
   * Streams tokens: `for await (const { text } of model.generate(prompt, { maxTokens: 100 })) …`
   */
  generate(prompt, { signal, onFinish, ...options } = {}) {
    return this.#stream((wasm, each) => wasm.generate(prompt, JSON.stringify(options), each), { signal, onFinish });
  }

  /**
   * Answers a message of a conversation, which the model's chat template writes; otherwise as
   * `generate`. What was said stays until `resetChat`.
   */
  async *chat(message, { signal, onFinish, ...options } = {}) {
    await loadTemplates();
    yield* this.#stream((wasm, each) => wasm.chat(message, JSON.stringify(options), each), { signal, onFinish });
  }

  /** Forgets the conversation. */
  resetChat() {
    return this.#alone((wasm) => wasm.resetChat());
  }

  /**
   * Trains a new adapter on rows of `{prompt, completion}` or `{text}` and yields a line per step.
   * When it ends, is stopped by `signal` or left, the adapter is the active one. Settings are those
   * of the command line in camelCase.
   */
  async *train(rows, { name = "trained", signal, ...settings } = {}) {
    signal?.throwIfAborted();
    const config = this.#config(settings);
    const total = await this.#alone((wasm) => wasm.beginTraining(name, JSON.stringify(rows), config));
    this.#beside.delete(name);
    try {
      while (!signal?.aborted) {
        const line = await this.#alone((wasm) => wasm.trainStep());
        if (line === null) break;
        yield { ...line, total };
      }
    } finally {
      await this.#alone((wasm) => wasm.endTraining());
    }
  }

  free() {
    this.#wasm.free();
  }
}
