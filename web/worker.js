// The page's work: device, model, downloads, training. One request at a time, except what only
// cancels.
import { Gpu, Model } from "./wgpu_lora.js";
import { adapterFrom, textsFrom } from "./files.js";
import { split } from "./page/table.js";
import { learned, textOf } from "./page/texts.js";
import { Cache, Kept } from "./storage.js";

/** Products that are priced at each check while training. */
const CHECKED = 8;

let gpu;
let model;
let watch;
const running = new Map();

const plain = (error) => ({
  name: error?.name ?? "Error", message: error?.message ?? String(error),
  what: error?.what, neededBytes: error?.neededBytes, limitBytes: error?.limitBytes,
});

function adopt(loaded) {
  model?.free();
  model = loaded;
  return model.info;
}

const needed = () => {
  if (!model) throw Object.assign(new Error("No model is loaded. Choose one under Models."), { name: "Invalid" });
  return model;
};

async function embedded() {
  const folder = new URL("./embedded/", import.meta.url);
  const response = await fetch(new URL("manifest.json", folder));
  if (!response.ok) throw Object.assign(new Error("This copy of the page has no model of its own. Choose one under Models."), { name: "NoModel" });
  return { folder, manifest: await response.json() };
}

/** What is kept for this model: adapters fit no other. */
const keptHere = () => Kept.of(`${needed().info.name} ${model.info.parameters}`);

/** Whether the browser keeps it: storage may be full, or there may be none. */
const keep = async (name, files, texts) => {
  try {
    await (await keptHere()).save(name, files, texts);
    return true;
  } catch {
    return false;
  }
};

const fetched = async (folder, path) => {
  const response = await fetch(new URL(path, folder));
  if (!response.ok) throw Object.assign(new Error(`${path}: the server says ${response.status}`), { name: "Network" });
  return { name: path, blob: await response.blob() };
};

/** What is known of the products that an adapter was trained on, by its files or its index. */
const about = (name, texts) => {
  const all = { ...model.trainedOn(name), ...texts };
  return Object.keys(all).length > 0 ? all : null;
};

/** Tells a stream's texts; its summary, which a stop has as well. */
async function streamed(begin, { signal, tell }) {
  let summary;
  try {
    for await (const { text } of begin({ signal, onFinish: (done) => { summary = done; } })) tell({ text });
  } catch (error) {
    if (error.name !== "AbortError" || !summary) throw error;
  }
  return { ...summary, stopped: signal.aborted };
}

const methods = {
  async open({ memoryBytes }) {
    gpu = await Gpu.create({ memoryBytes });
    clearInterval(watch);
    watch = setInterval(() => {
      if (gpu.lost) {
        clearInterval(watch);
        postMessage({ event: "lost" });
      }
    }, 500);
    return gpu.info;
  },
  async loadEmbedded(_, context) {
    const { folder, manifest } = await embedded();
    const files = await Promise.all(manifest.model.files.map((path) => fetched(folder, path)));
    return adopt(await Model.load(gpu, { files, name: manifest.model.name, ...context }));
  },
  /** Adds the adapters that come with the page, and says what they were trained on. */
  async embeddedAdapters() {
    const { folder, manifest } = await embedded();
    const texts = {};
    for (const { name, files: paths } of manifest.adapters) {
      const files = await Promise.all(paths.map((path) => fetched(folder, path)));
      await needed().addAdapter(name, files);
      texts[name] = about(name, await textsFrom(files));
    }
    return { info: model.info, texts };
  },
  /** Adds the adapters that are kept for this model. */
  async keptAdapters() {
    const added = [];
    for (const { name, ...files } of await (await keptHere()).all()) {
      // One that does not fit any more stays where it is, and is of no use.
      const fits = await model.addAdapter(name, files).then(() => true, () => false);
      if (fits) added.push({ name, files });
    }
    return { info: model.info, added };
  },
  async forgetAdapter({ name }) {
    await needed().removeAdapter(name);
    await (await keptHere()).delete(name).catch(() => {});
    return model.info;
  },
  saveTable: ({ text }) => Kept.saveTable(text),
  table: () => Kept.table(),
  async loadFiles({ files, name }, context) {
    return adopt(await Model.load(gpu, { files, name, ...context }));
  },
  async download({ url }, context) {
    const cache = await Cache.open();
    const tell = (state) => context.onProgress({ phase: "download", ...state });
    return cache.download(url, { onProgress: tell, signal: context.signal });
  },
  async loadCached({ id }, context) {
    const cache = await Cache.open();
    const { name, files } = await cache.files(id);
    return adopt(await Model.load(gpu, { files, name, ...context }));
  },
  cached: async () => (await Cache.open()).list(),
  deleteCached: async ({ id }) => (await Cache.open()).delete(id),
  /** Adds an adapter and keeps it, so that it is there again after a reload. */
  async addAdapter({ name, files }) {
    const source = await adapterFrom(files);
    const own = source === files ? files.texts ?? null : await textsFrom(files);
    const notes = await needed().addAdapter(name, source);
    const texts = about(name, own);
    const kept = await keep(name, source, texts);
    return { info: model.info, notes, texts, files: { ...source, texts }, kept };
  },
  async setAdapter({ name }) {
    await needed().setAdapter(name);
    return model.info;
  },
  /** Products with factors of 16 bits or not; their kernels are tested first. */
  async setPrecision({ precision }) {
    const before = needed().info.precision;
    await model.setPrecision(precision);
    const checks = await model.selfTest();
    const wrong = checks.find(({ ok }) => !ok);
    if (wrong) await model.setPrecision(before);
    return { info: model.info, checks, wrong };
  },
  setScale: ({ name, factor }) => needed().setScale(name, factor),
  async adapterFiles({ name }) {
    const before = needed().info.adapter ?? null;
    await model.setAdapter(name);
    try {
      return await model.adapterFiles();
    } finally {
      await model.setAdapter(before);
    }
  },
  selfTest: ({ rest }) => needed().selfTest({ rest }),
  prompt: ({ product }) => needed().pricePrompt(product),
  /** One answer of the base model or an adapter; above temperature 0 also one by chance. */
  async price({ product, adapter, sampling }, { signal, tell }) {
    await needed().setAdapter(adapter);
    const price = await model.predictPrice(product, { signal, onProgress: (share) => tell({ share }) });
    if (!(sampling?.temperature > 0)) return price;
    let drawn = "";
    for await (const { text } of model.generate(price.prompt, { ...sampling, maxTokens: 8, stop: ["\n"], signal })) drawn += text;
    return { ...price, drawn: drawn.trim() };
  },
  /** What may come next, by the base model or an adapter; the active one stays. */
  async nextTokens({ prompt, adapter }) {
    const before = needed().info.adapter ?? null;
    await model.setAdapter(adapter);
    try {
      return await model.nextTokens(prompt, 10);
    } finally {
      await model.setAdapter(before);
    }
  },
  /** Bytes in use on the device, and what training with these settings would take. */
  memory: ({ settings }) => needed().memory(settings),
  generate: ({ prompt, options }, context) => streamed((more) => needed().generate(prompt, { ...options, ...more }), context),
  chat: ({ message, options }, context) => streamed((more) => needed().chat(message, { ...options, ...more }), context),
  resetChat: () => needed().resetChat(),
  /**
   * Trains an adapter on a table of products and keeps it. Events: `{held, guessing}` (how many
   * products are set aside, and how far off the middle price of the others is there), and behind a
   * step, step 0 being before any, `{line, error}`.
   */
  async train({ table, name, settings }, { signal, tell }) {
    const rows = table.map(({ price, ...product }, i) => {
      try {
        return { product, ...needed().priceRow(product, price) };
      } catch (error) {
        throw new Error(`Product ${i + 1}, “${product.title}”: ${error.message}`);
      }
    });
    const { training, held } = split(rows);
    const checked = held.slice(0, CHECKED);
    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    const off = (guesses) => mean(checked.map((row, i) => Math.abs(guesses[i] - row.price)));
    /** Guesses at what is set aside; none where nothing is, or when stopped. */
    const guesses = async () => {
      const found = [];
      for (const { prompt } of checked) {
        if (signal.aborted) return undefined;
        found.push(await model.predictPrice({ prompt }, { signal }).then(({ price }) => price, (error) => {
          if (error.name !== "AbortError") throw error;
        }));
      }
      return found.length > 0 && !signal.aborted ? found : undefined;
    };
    const prices = training.map(({ price }) => price).sort((a, b) => a - b);
    const middle = prices[Math.floor(prices.length / 2)];
    await model.setAdapter(null);
    const before = await guesses();
    signal.throwIfAborted();
    tell({ held: checked.length, guessing: before && off(checked.map(() => middle)), line: { step: 0 }, error: before && off(before) });
    const taught = training.map(({ prompt, completion }) => ({ prompt, completion }));
    let steps = 0;
    let after = before;
    for await (const line of model.train(taught, { name, signal, ...settings })) {
      steps = line.step;
      const due = line.step === 1 || line.step % Math.max(1, Math.round(line.total / 10)) === 0 || line.step === line.total;
      const found = due ? await guesses() : undefined;
      after = found ?? after;
      tell({ line, error: found && off(found) });
    }
    const texts = { ...learned(training.map(({ product }) => textOf(product)), prices), rows: "prompt_completion" };
    const files = await model.adapterFiles();
    const kept = await keep(name, files, texts);
    const tried = before ? checked.map(({ product, price }, i) => ({ product, price, before: before[i], after: after[i] })) : [];
    return { steps, info: model.info, rows: training.length, held: held.length, tried, texts, files: { ...files, texts }, kept };
  },
};

onmessage = async ({ data: { id, method, args = {}, abort } }) => {
  if (abort !== undefined) {
    running.get(abort)?.abort();
    return;
  }
  const controller = new AbortController();
  running.set(id, controller);
  let last = 0;
  const tell = (event) => postMessage({ id, event });
  const onProgress = (state) => {
    const now = performance.now();
    if (now - last < 50 && state.loaded !== state.total) return;
    last = now;
    tell(state);
  };
  try {
    const result = await methods[method](args, { signal: controller.signal, onProgress, tell });
    postMessage({ id, result });
  } catch (error) {
    if (gpu?.lost) postMessage({ event: "lost" });
    postMessage({ id, error: plain(error) });
  } finally {
    running.delete(id);
  }
};
