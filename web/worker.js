// The page's work: device, model, downloads, training. One request at a time, except what only
// cancels.
import { Gpu, Model } from "./wgpu_lora.js";
import { Cache } from "./files.js";

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

const fetched = async (folder, path) => {
  const response = await fetch(new URL(path, folder));
  if (!response.ok) throw Object.assign(new Error(`${path}: the server says ${response.status}`), { name: "Network" });
  return { name: path, blob: await response.blob() };
};

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
  async embeddedAdapters() {
    const { folder, manifest } = await embedded();
    for (const { name, files } of manifest.adapters) {
      await needed().addAdapter(name, await Promise.all(files.map((path) => fetched(folder, path))));
    }
    return model.info;
  },
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
  async addAdapter({ name, files }) {
    const notes = await needed().addAdapter(name, files);
    return { ...model.info, notes };
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
  /**
   * One answer of the base model or an adapter, with the next-token table; above temperature 0 also
   * one by chance.
   */
  async price({ product, adapter, sampling }) {
    await needed().setAdapter(adapter);
    const price = await model.predictPrice(product);
    const next = await model.nextTokens(price.prompt, 10);
    if (!(sampling?.temperature > 0)) return { ...price, next };
    let drawn = "";
    for await (const { text } of model.generate(price.prompt, { ...sampling, maxTokens: 8, stop: ["\n"] })) drawn += text;
    return { ...price, next, drawn: drawn.trim() };
  },
  /** Bytes in use on the device, and what training with these settings would take. */
  memory: ({ settings }) => needed().memory(settings),
  async generate({ prompt, options }, context) {
    let summary;
    const onFinish = (done) => { summary = done; };
    for await (const { text } of needed().generate(prompt, { ...options, signal: context.signal, onFinish })) {
      context.tell({ text });
    }
    return summary;
  },
  async train({ table, name, settings }, context) {
    const rows = table.map(({ price, ...product }, i) => {
      try {
        return needed().priceRow(product, price);
      } catch (error) {
        throw new Error(`Product ${i + 1}, “${product.title}”: ${error.message}`);
      }
    });
    // A few rows stay out of training and say how far the guesses are off.
    const held = rows.length >= 10 ? rows.filter((_, i) => i % 10 === 9).slice(0, 8) : rows.slice(0, 4);
    const training = rows.length >= 10 ? rows.filter((_, i) => i % 10 !== 9) : rows;
    const taught = training.map(({ prompt, completion }) => ({ prompt, completion }));
    const error = async () => {
      const misses = [];
      for (const row of held) {
        misses.push(Math.abs((await model.predictPrice({ prompt: row.prompt })).price - row.price));
      }
      return misses.reduce((a, b) => a + b, 0) / misses.length;
    };
    let steps = 0;
    let paused;
    for await (const line of needed().train(taught, { name, signal: context.signal, ...settings })) {
      steps = line.step;
      const every = Math.max(1, Math.round(line.total / 10));
      // Behind the step that this line is about.
      paused = line.step === 1 || line.step % every === 0 || line.step === line.total ? await error() : undefined;
      context.tell({ line, error: paused });
    }
    return { steps, info: model.info, rows: training.length, held: held.length };
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
