// Addresses: of models on the Hugging Face hub, of folders and files anywhere, and what they give.

export const fail = (name, message) => Object.assign(new Error(message), { name });

const HUB = "https://huggingface.co";
const base = (path) => path.split("/").pop();

/**
 * The address that a person means: `owner/name` and a page of the hub stand for the files there.
 */
export function addressOf(text) {
  const said = text.trim().replace(/^(?=(www\.)?(huggingface\.co|hf\.co)\/)/, "https://");
  if (/^[\w.-]+\/[\w.-]+$/.test(said)) return `${HUB}/${said}/resolve/main/`;
  let at;
  try {
    at = new URL(said, globalThis.location?.href);
    if (!/^https?:/i.test(said)) throw new Error("no protocol");
  } catch {
    throw fail("Network", `“${said}” is no address. A model of the hub is owner/name, anything else begins with https://.`);
  }
  if (!["huggingface.co", "www.huggingface.co", "hf.co"].includes(at.hostname)) return at.href;
  const [owner, name, kind, revision = "main", ...rest] = at.pathname.split("/").filter(Boolean);
  if (!owner || !name) throw fail("Network", `“${said}” names no model. Its page's address has owner and name.`);
  const folder = kind === undefined || kind === "tree" || rest.length === 0;
  return `${HUB}/${[owner, name, "resolve", revision, ...rest].join("/")}${folder ? "/" : ""}`;
}

/** What a model from this address is called: `owner/name` of the hub, else its last part. */
export function nameOf(url) {
  const at = new URL(url, globalThis.location?.href);
  const parts = decodeURIComponent(at.pathname).split("/").filter(Boolean);
  if (at.origin === HUB) return [parts.slice(0, 2).join("/"), ...parts.slice(4)].join("/");
  return parts.pop() ?? at.host;
}

/** A server that has not begun to answer by then is asked again, `TRIES` times in all. */
const PATIENCE_MS = 15_000;
const TRIES = 3;

export async function respond(url, options = {}) {
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
    const gated = url.startsWith(HUB) && [401, 403].includes(response.status);
    const hint = gated ? ". No public model has this name, or its owner wants you to sign in: then download it in another tab, and choose its files here" : "";
    const error = fail("Network", `${url}: the server says ${`${response.status} ${response.statusText}`.trim()}${hint}`);
    throw Object.assign(error, { status: response.status });
  }
  return response;
}

export async function fetchBlob(url, { onProgress, signal } = {}) {
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

export async function* chunks(response) {
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
    file("special_tokens_map.json", true), file("added_tokens.json", true), file("chat_template.jinja", true),
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
