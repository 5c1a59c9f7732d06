// The browser's own storage for this page (the origin private file system): models that were
// downloaded, adapters that were trained or dropped here, the table of products.
import { chunks, fail, nameOf, resolve, respond } from "./addresses.js";
import { ADAPTER_FILES, TEXTS, bytesOf } from "./files.js";

async function root(name) {
  if (!navigator.storage?.getDirectory) {
    throw fail("Unsupported", "This browser gives pages no storage of their own here. Choose the model's files instead.");
  }
  return (await navigator.storage.getDirectory()).getDirectoryHandle(name, { create: true });
}

/** A whole file, `content` a text or bytes. */
async function write(folder, name, content) {
  const handle = await (await folder.getFileHandle(name, { create: true })).createSyncAccessHandle();
  try {
    handle.truncate(0);
    handle.write(typeof content === "string" ? new TextEncoder().encode(content) : content, { at: 0 });
    handle.flush();
  } finally {
    handle.close();
  }
}

/** A file, or null. */
async function read(folder, name) {
  return folder.getFileHandle(name).then((handle) => handle.getFile(), () => null);
}

const parsed = async (file) => {
  try {
    return file && JSON.parse(await file.text());
  } catch {
    return null;
  }
};

/**
 * Models in the origin private file system, one folder each: their files, and `about.json`. Only
 * workers can write there in place, which is what lets an interrupted download go on.
 */
export class Cache {
  static async open() {
    return new Cache(await root("models"));
  }

  constructor(folder) {
    this.folder = folder;
  }

  #about(folder) {
    return read(folder, "about.json").then(parsed);
  }

  /** `[{id, url, name, loaded, total, complete}]` */
  async list() {
    const found = [];
    for await (const [id, folder] of this.folder.entries()) {
      const about = folder.kind === "directory" ? await this.#about(folder) : null;
      if (!about) continue;
      let loaded = 0;
      for (const { name } of about.files) loaded += (await read(folder, name))?.size ?? 0;
      found.push({ id, url: about.url, name: about.name, loaded, total: about.total, complete: about.complete });
    }
    return found.sort((a, b) => a.name.localeCompare(b.name));
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
      about = { url: at.href, name: nameOf(at.href), files: await resolve(at.href, { signal }), total: 0, complete: false };
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
      await write(folder, "about.json", JSON.stringify(about));
    }
    let done = 0;
    for (const file of about.files) {
      await this.#file(folder, file, signal, (size) => onProgress?.({ id, file: file.name, loaded: done + size, total: about.total }));
      done += file.size;
    }
    about.complete = true;
    await write(folder, "about.json", JSON.stringify(about));
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

/** Adapters by the model that they belong to, and the table of products, as they were last. */
export class Kept {
  /** `model`: what tells it from others, such as its name and size. */
  static async of(model) {
    return new Kept(await (await root("adapters")).getDirectoryHandle(await digest(model), { create: true }));
  }

  constructor(folder) {
    this.folder = folder;
  }

  /** Every version of every adapter, the newest first: `[{id, name, version, folder}]`. */
  async #versions() {
    const found = [];
    for await (const [id, folder] of this.folder.entries()) {
      const [, name, version] = /^(.*) \(kept (\d+)\)$/s.exec(id) ?? [id, id, 0];
      found.push({ id, name, version: Number(version), folder });
    }
    return found.sort((a, b) => b.version - a.version);
  }

  #remove({ id }) {
    return this.folder.removeEntry(id, { recursive: true });
  }

  /** The one of this name that was there before goes when this one is whole. */
  save(name, files, texts) {
    // Another tab may keep one of this name, too.
    return navigator.locks.request(`wgpu-lora: ${name}`, async () => {
      const before = (await this.#versions()).filter((one) => one.name === name);
      const id = `${name} (kept ${(before[0]?.version ?? 0) + 1})`;
      try {
        const folder = await this.folder.getDirectoryHandle(id, { create: true });
        for (const [key, file] of Object.entries(ADAPTER_FILES)) if (files[key]) await write(folder, file, files[key]);
        // Written last: it says that the others are whole.
        await write(folder, TEXTS, JSON.stringify(texts ?? null));
      } catch (error) {
        // Where there is no room, half of it takes none.
        await this.#remove({ id }).catch(() => {});
        throw error;
      }
      for (const one of before) await this.#remove(one).catch(() => {});
    });
  }

  /**
   * `[{name, config, weights, pricing, index, texts}]`, the newest of each name that was written
   * to its end.
   */
  async all() {
    const found = [];
    for (const { name, folder } of await this.#versions()) {
      const texts = await read(folder, TEXTS);
      if (!texts || found.some((kept) => kept.name === name)) continue;
      const kept = { name, texts: await parsed(texts) };
      for (const [key, file] of Object.entries(ADAPTER_FILES)) {
        const there = await read(folder, file);
        if (there) kept[key] = await bytesOf(there);
      }
      found.push(kept);
    }
    return found.sort((a, b) => a.name.localeCompare(b.name));
  }

  async delete(name) {
    const all = (await this.#versions()).filter((one) => one.name === name);
    for (const one of all) await this.#remove(one);
  }

  static async saveTable(text) {
    await write(await root("table"), "table.csv", text);
  }

  static async table() {
    return (await (await read(await root("table"), "table.csv"))?.text()) ?? "";
  }
}
