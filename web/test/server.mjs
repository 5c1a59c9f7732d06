// A web server for the tests: the page, and a second address whose downloads can be cut and
// counted.
import { createServer } from "node:http";
import { createReadStream, readFileSync, statSync } from "node:fs";
import { extname, join, normalize } from "node:path";

const KINDS = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
  ".json": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json",
};

/**
 * Serves `folder`, under a path where one is given; `cut(path, range)` says after how many bytes a
 * connection breaks, if at all;
 * `alter(path, read)` may give other bytes than the file's.
 */
export async function serve(folder, { cut = () => undefined, alter = () => undefined, slow = 0, under = "/" } = {}) {
  const seen = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://x").pathname);
    seen.push({ method: request.method, path, range: request.headers.range });
    const inside = path.startsWith(under) ? path.slice(under.length) || "index.html" : "nothing";
    const file = join(folder, normalize(`/${inside}`));
    let size;
    try {
      const about = statSync(file);
      if (!about.isFile()) throw new Error("no file");
      size = about.size;
    } catch {
      response.writeHead(404, { "access-control-allow-origin": "*" }).end("not found\n");
      return;
    }
    const headers = {
      "content-type": KINDS[extname(file)] ?? "application/octet-stream",
      "accept-ranges": "bytes", etag: `"${size}"`, "cache-control": "no-store",
      "access-control-allow-origin": "*", "access-control-expose-headers": "etag, content-length, content-range",
      "access-control-allow-headers": "range, if-range",
    };
    if (request.method === "OPTIONS") {
      response.writeHead(204, headers).end();
      return;
    }
    const altered = alter(path, () => readFileSync(file));
    if (altered) {
      response.writeHead(200, { ...headers, "content-length": altered.length }).end(altered);
      return;
    }
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const from = range ? Number(range[1]) : 0;
    const to = range?.[2] ? Number(range[2]) : size - 1;
    headers["content-length"] = to - from + 1;
    if (range) headers["content-range"] = `bytes ${from}-${to}/${size}`;
    response.writeHead(range ? 206 : 200, headers);
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    const limit = cut(path, request.headers.range);
    let sent = 0;
    const stream = createReadStream(file, { start: from, end: to, highWaterMark: 1 << 16 });
    stream.on("data", (part) => {
      response.write(part);
      sent += part.length;
      if (limit !== undefined && sent >= limit) {
        stream.destroy();
        setTimeout(() => response.destroy(), 100);
      } else if (slow > 0 && path.endsWith(".safetensors")) {
        stream.pause();
        setTimeout(() => stream.resume(), slow);
      }
    });
    stream.on("end", () => response.end());
    response.on("close", () => stream.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, seen, close: () => {
    server.close();
    server.closeAllConnections();
  } };
}
