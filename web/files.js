// Files of models and adapters: from pickers and drops, from addresses (resumable), from the
// browser's own storage.

const fail = (name, message) => Object.assign(new Error(message), { name });

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

const SMALL = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
const INDEX = "model.safetensors.index.json";

/** `{name, blob}`, the name with its folders where a picker knows them. */
export const named = (file) => (file instanceof Blob ? { name: file.webkitRelativePath || file.name, blob: file } : file);
const bytesOf = async (blob) => new Uint8Array(await blob.arrayBuffer());

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
  const out = { small: {}, weights: [] };
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
    out.name = name || base(ggufs[0].name).replace(/(-\d{5}-of-\d{5})?\.gguf$/, "");
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
  out.name = name || base(folderOf(weights[0].name)) || base(weights[0].name).replace(/\.safetensors$/, "");
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

/**
 * PEFT's two files as bytes, from `{config, weights}`, from files, or from the address of their
 * folder.
 */
export async function adapterFrom(source, { onProgress, signal } = {}) {
  if (source.config && source.weights) return source;
  let files = source;
  if (typeof source === "string" || source instanceof URL) {
    const folder = String(source).replace(/\/?$/, "/");
    files = [];
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
      files.push({ name, blob: await fetchBlob(folder + name, { onProgress, signal }) });
    }
  }
  const all = beside([...files].map(named), isOfAdapter);
  const pick = (name) => all.find((file) => base(file.name) === name)?.blob;
  const config = pick("adapter_config.json");
  const weights = pick("adapter_model.safetensors");
  if (!config || !weights) {
    const missing = config ? "adapter_model.safetensors" : "adapter_config.json";
    throw fail("Format", `${missing} is missing. An adapter is a folder with adapter_config.json and adapter_model.safetensors.`);
  }
  return { config: await bytesOf(config), weights: await bytesOf(weights) };
}

/** A server that has not begun to answer by then is asked again, `TRIES` times in all. */
const PATIENCE_MS = 15_000;
const TRIES = 3;

async function respond(url, options = {}) {
  let response;
  for (let tries = 1; !response; tries++) {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), PATIENCE_MS);
    try {
      const signal = options.signal ? AbortSignal.any([options.signal, late.signal]) : late.signal;
      response = await fetch(url, { ...options, signal });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      if (!late.signal.aborted) {
        throw fail("Network", `${url} cannot be reached. Check the address and the connection; the server must allow other pages (CORS).`);
      }
      if (tries === TRIES) throw fail("Network", `${url} does not answer. Try again later; what has come is kept.`);
    } finally {
      clearTimeout(timer);
    }
  }
  if (!response.ok && response.status !== 206 && response.status !== 416) {
    throw fail("Network", `${url}: the server says ${response.status} ${response.statusText}`.trim());
  }
  return response;
}

async function fetchBlob(url, { onProgress, signal } = {}) {
  const response = await respond(url, { signal });
  const total = Number(response.headers.get("content-length")) || 0;
  const parts = [];
  let loaded = 0;
  for await (const part of chunks(response)) {
    parts.push(part);
    loaded += part.length;
    onProgress?.({ loaded, total });
  }
  return new Blob(parts);
}

async function* chunks(response) {
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** The files that an address stands for: `[{name, url, optional}]`. */
export async function resolve(url, { signal } = {}) {
  const at = new URL(url, globalThis.location?.href);
  if (!["https:", "http:"].includes(at.protocol)) throw fail("Network", `${url} is no http(s) address.`);
  const last = base(at.pathname);
  if (last.endsWith(".gguf")) return [{ name: last, url: at.href }];
  const path = /\.(safetensors|json)$/.test(last) ? at.pathname.slice(0, -last.length) : at.pathname.replace(/\/?$/, "/");
  const file = (name, optional = false) => {
    const one = new URL(at);
    one.pathname = path + name;
    return { name, url: one.href, optional };
  };
  const files = [
    file("config.json"), file("tokenizer.json"),
    file("tokenizer_config.json", true), file("generation_config.json", true),
    file("special_tokens_map.json", true), file("added_tokens.json", true),
  ];
  let shards = [last.endsWith(".safetensors") ? last : "model.safetensors"];
  if (!last.endsWith(".safetensors")) {
    const index = file("model.safetensors.index.json");
    const response = await fetch(index.url, { signal }).catch(() => undefined);
    if (response?.ok) shards = [...new Set(Object.values((await response.json()).weight_map))].sort();
  }
  return [...files, ...shards.map((name) => file(name))];
}

/** Fetches a model into memory. */
export async function download(url, { onProgress, signal } = {}) {
  const files = [];
  let before = 0;
  for (const { name, url: at, optional } of await resolve(url, { signal })) {
    try {
      const tell = ({ loaded, total }) => onProgress?.({ loaded: before + loaded, total: before + total, file: name });
      const blob = await fetchBlob(at, { onProgress: tell, signal });
      before += blob.size;
      files.push({ name, blob });
    } catch (error) {
      if (!optional || error.name === "AbortError") throw error;
    }
  }
  return files;
}

/**
 * Models in the origin private file system, one folder each: their files, and `about.json`. Only
 * workers can write there in place, which is what lets an interrupted download go on.
 */
export class Cache {
  static async open() {
    if (!navigator.storage?.getDirectory) {
      throw fail("Unsupported", "This browser gives pages no storage of their own here. Choose the model's files instead.");
    }
    const root = await navigator.storage.getDirectory();
    return new Cache(await root.getDirectoryHandle("models", { create: true }));
  }

  constructor(folder) {
    this.folder = folder;
  }

  async #about(folder) {
    try {
      const file = await (await folder.getFileHandle("about.json")).getFile();
      return JSON.parse(await file.text());
    } catch {
      return null;
    }
  }

  async #write(folder, name, text) {
    const handle = await (await folder.getFileHandle(name, { create: true })).createSyncAccessHandle();
    try {
      handle.truncate(0);
      handle.write(new TextEncoder().encode(text), { at: 0 });
      handle.flush();
    } finally {
      handle.close();
    }
  }

  /** `[{id, url, name, loaded, total, complete}]` */
  async list() {
    const found = [];
    for await (const [id, folder] of this.folder.entries()) {
      const about = folder.kind === "directory" ? await this.#about(folder) : null;
      if (!about) continue;
      let loaded = 0;
      for (const { name } of about.files) loaded += await this.#size(folder, name);
      found.push({ id, url: about.url, name: about.name, loaded, total: about.total, complete: about.complete });
    }
    return found.sort((a, b) => a.name.localeCompare(b.name));
  }

  async #size(folder, name) {
    try {
      return (await (await folder.getFileHandle(name)).getFile()).size;
    } catch {
      return 0;
    }
  }

  async delete(id) {
    await this.folder.removeEntry(id, { recursive: true });
  }

  /** The files of a complete model. */
  async files(id) {
    const folder = await this.folder.getDirectoryHandle(id);
    const about = await this.#about(folder);
    if (!about?.complete) throw fail("Format", "This download is not complete. Resume it first.");
    const files = [];
    for (const { name } of about.files) {
      files.push({ name, blob: await (await folder.getFileHandle(name)).getFile() });
    }
    return { name: about.name, files };
  }

  /** Downloads a model, or goes on with it; returns its id. Ends with `AbortError` when paused. */
  async download(url, { onProgress, signal } = {}) {
    const at = new URL(url, globalThis.location?.href);
    const id = await digest(at.href);
    const folder = await this.folder.getDirectoryHandle(id, { create: true });
    let about = await this.#about(folder);
    if (!about) {
      const name = decodeURIComponent(at.pathname.split("/").filter((part) => part && part !== "resolve" && part !== "main").pop() ?? at.host);
      about = { url: at.href, name, files: await resolve(at.href, { signal }), total: 0, complete: false };
      for (const file of about.files) {
        const head = await respond(file.url, { method: "HEAD", signal }).catch((error) => {
          if (file.optional && error.name !== "AbortError") return null;
          throw error;
        });
        file.size = head ? Number(head.headers.get("content-length")) || 0 : -1;
        file.etag = head?.headers.get("etag") ?? null;
      }
      about.files = about.files.filter((file) => file.size >= 0);
      about.total = about.files.reduce((sum, file) => sum + file.size, 0);
      await this.#room(about.total);
      await this.#write(folder, "about.json", JSON.stringify(about));
    }
    let done = 0;
    for (const file of about.files) {
      await this.#file(folder, file, signal, (size) => onProgress?.({ id, file: file.name, loaded: done + size, total: about.total }));
      done += file.size;
    }
    about.complete = true;
    await this.#write(folder, "about.json", JSON.stringify(about));
    return id;
  }

  async #room(bytes) {
    const { quota = Infinity, usage = 0 } = (await navigator.storage.estimate?.()) ?? {};
    if (bytes > quota - usage) {
      const gb = (n) => `${(n / 1e9).toFixed(1)} GB`;
      throw fail("OutOfMemory", `The model has ${gb(bytes)}, the browser has room for ${gb(quota - usage)}. Delete a cached model, or free disk space.`);
    }
  }

  async #file(folder, file, signal, tell) {
    const handle = await (await folder.getFileHandle(file.name, { create: true })).createSyncAccessHandle();
    try {
      let at = handle.getSize();
      tell(at);
      if (file.size > 0 && at === file.size) return;
      const headers = {};
      if (at > 0) {
        headers.Range = `bytes=${at}-`;
        // A file that has changed on the server begins anew.
        if (file.etag && !file.etag.startsWith("W/")) headers["If-Range"] = file.etag;
      }
      const response = await respond(file.url, { headers, signal });
      if (at > 0 && response.status !== 206) at = 0;
      handle.truncate(at);
      for await (const part of chunks(response)) {
        signal?.throwIfAborted();
        handle.write(part, { at });
        at += part.length;
        tell(at);
      }
      handle.flush();
      if (file.size > 0 && at !== file.size) {
        throw fail("Network", `${file.name}: ${at} of ${file.size} bytes came. Resume the download.`);
      }
    } catch (error) {
      if (error.name === "TypeError") {
        throw fail("Network", `${file.name}: the connection was lost. Resume the download.`);
      }
      throw error;
    } finally {
      handle.close();
    }
  }
}

async function digest(text) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...bytes.slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
