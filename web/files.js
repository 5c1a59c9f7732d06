// Files of models and adapters, sorted by their names: from pickers, drops, addresses, storage.
import { fail, fetchBlob } from "./addresses.js";

/** Name without folders, and the folders. */
const base = (path) => path.split("/").pop();
const folderOf = (path) => path.split("/").slice(0, -1).join("/");
const depth = (path) => path.split("/").length;

/**
 * Of files at all depths of a folder those that lie beside the one highest up that `is` what is
 * looked for.
 */
function beside(files, is) {
  const [first] = files.filter(({ name }) => is(base(name))).sort((a, b) => depth(a.name) - depth(b.name));
  return first ? files.filter(({ name }) => folderOf(name) === folderOf(first.name)) : [];
}

const isWeights = (name) => /\.(gguf|safetensors)$/.test(name) && !isOfAdapter(name);
const isOfAdapter = (name) => name.startsWith("adapter_");

const SMALL = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
  "chat_template.jinja"];
const INDEX = "model.safetensors.index.json";
/**
 * An adapter's files: PEFT's two, and where it prices its temperature and blend, and the products
 * that its prompts name.
 */
export const ADAPTER_FILES = {
  config: "adapter_config.json", weights: "adapter_model.safetensors", pricing: "pricer.json", index: "neighbours.jsonl.gz",
};
/** Beside these: see page/texts.js. */
export const TEXTS = "training_texts.json";
/** … and the note of the command line: `rows` are "messages", "prompt_completion" or "text". */
export const NOTE = "wgpu_lora.json";

/** `{name, blob}`, the name with its folders where a picker knows them. */
export const named = (file) => (file instanceof Blob ? { name: file.webkitRelativePath || file.name, blob: file } : file);
export const bytesOf = async (blob) => new Uint8Array(await blob.arrayBuffer());

/** A file that Rust reads by position. Workers read it in pieces; a page has to take it whole. */
async function readable({ name, blob }) {
  if (typeof FileReaderSync !== "undefined") {
    const reader = new FileReaderSync();
    const read = (from, length) => new Uint8Array(reader.readAsArrayBuffer(blob.slice(from, from + length)));
    return { name, size: blob.size, read };
  }
  const bytes = await bytesOf(blob);
  return { name, size: blob.size, read: (from, length) => bytes.subarray(from, from + length) };
}

const byName = (a, b) => (base(a.name) < base(b.name) ? -1 : 1);

/**
 * The safetensors that transformers reads: `model.safetensors`, or those that the index names, or
 * all.
 */
async function ofModel(all) {
  const weights = all.filter(({ name }) => name.endsWith(".safetensors")).sort(byName);
  const single = weights.filter(({ name }) => base(name) === "model.safetensors");
  if (single.length > 0) return single;
  const index = all.find(({ name }) => base(name) === INDEX);
  if (!index) return weights;
  let map;
  try {
    map = JSON.parse(await index.blob.text()).weight_map;
  } catch (error) {
    throw fail("Format", `${INDEX} is damaged: ${error.message}`);
  }
  const shards = [...new Set(Object.values(map ?? {}))];
  const absent = shards.filter((shard) => !weights.some(({ name }) => base(name) === shard));
  if (absent.length > 0) throw fail("Format", `${INDEX} names files that are not among these: ${absent.join(", ")}.`);
  return weights.filter(({ name }) => shards.includes(base(name)));
}

/** Sorts the files of a model by their names: what `WasmModel.load` takes. */
export async function gather(files, name) {
  // What a system hides beside a file is none of ours.
  const given = [...files].map(named).filter(({ name }) => !base(name).startsWith(".") && !isOfAdapter(base(name)));
  const found = beside(given, isWeights);
  const all = found.length > 0 ? found : given;
  const out = { name, small: {}, weights: [] };
  for (const { name, blob } of all) {
    if (SMALL.includes(base(name))) out.small[base(name)] = await bytesOf(blob);
  }
  const ggufs = all.filter(({ name }) => name.endsWith(".gguf")).sort(byName);
  // Several files are parts of one model if their names say so, which the first part confirms.
  const models = new Set(ggufs.map(({ name }) => base(name).replace(/-\d{5}(-of-\d{5}\.gguf)$/, "$1")));
  if (models.size > 1) {
    throw fail("Format", `These are ${models.size} models: ${ggufs.map(({ name }) => base(name)).join(", ")}. Choose one of them.`);
  }
  if (ggufs.length > 0) {
    out.weights = await Promise.all(ggufs.map(readable));
    out.file = base(ggufs[0].name).replace(/(-\d{5}-of-\d{5})?\.gguf$/, "");
    return out;
  }
  const weights = await ofModel(all);
  if (weights.length === 0) {
    throw fail("Format", "No weights among these files. A model is a .gguf file, or a folder with config.json, " +
      "tokenizer.json and model.safetensors.");
  }
  const missing = ["config.json", "tokenizer.json"].find((file) => !out.small[file]);
  if (missing) {
    throw fail("Format", `${missing} is missing. Choose it together with the .safetensors file, or take the whole folder.`);
  }
  out.weights = await Promise.all(weights.map(readable));
  out.file = base(folderOf(weights[0].name)) || base(weights[0].name).replace(/\.safetensors$/, "");
  return out;
}

/**
 * Whether these files are an adapter rather than a model: of a folder with both, what lies higher
 * up.
 */
export function isAdapter(files) {
  const highest = (is) => Math.min(...[...files].filter(({ name }) => is(base(name))).map(({ name }) => depth(name)));
  const adapter = highest(isOfAdapter);
  return adapter < Infinity && adapter <= highest(isWeights);
}

/** The folder of the adapter among these files. */
export const adapterFolder = (files) => folderOf(beside(files, isOfAdapter)[0].name);

/** Of the address of an adapter's folder its files, as far as they are there. */
async function adapterAt(folder, options) {
  const files = [];
  const get = async (name) => files.push({ name, blob: await fetchBlob(folder + name, options) });
  await get(ADAPTER_FILES.config);
  await get(ADAPTER_FILES.weights);
  try {
    // The index comes with a note that it is needed.
    await get(ADAPTER_FILES.pricing);
    await get(ADAPTER_FILES.index);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  return files;
}

/**
 * An adapter's files as bytes, `{config, weights, pricing, index}`, the last two where they are
 * there: from such an object, from files, or from the address of their folder.
 */
export async function adapterFrom(source, options = {}) {
  if (source.config && source.weights) return source;
  const given = typeof source === "string" || source instanceof URL ? await adapterAt(String(source).replace(/\/?$/, "/"), options) : source;
  const all = beside([...given].map(named), isOfAdapter);
  const found = {};
  for (const [key, name] of Object.entries(ADAPTER_FILES)) {
    const file = all.find((one) => base(one.name) === name);
    if (file) found[key] = await bytesOf(file.blob);
  }
  const missing = ["config", "weights"].find((key) => !found[key]);
  if (missing) {
    throw fail("Format", `${ADAPTER_FILES[missing]} is missing. An adapter is a folder with adapter_config.json and adapter_model.safetensors.`);
  }
  return found;
}

/**
 * What is kept of what an adapter among these files was trained on: how familiar texts are, and
 * `rows`, their kind; null without.
 */
export async function textsFrom(files) {
  const all = beside([...files].map(named), isOfAdapter);
  const parsed = async (file) => {
    try {
      return JSON.parse(await all.find(({ name }) => base(name) === file).blob.text());
    } catch {
      return {};
    }
  };
  const kept = { ...await parsed(TEXTS), ...await parsed(NOTE) };
  return Object.keys(kept).length > 0 ? kept : null;
}
