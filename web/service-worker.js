// Keeps the page usable without a network: all its files, fetched once behind the first answer.
// With a network, that is asked first, so that nobody gets an old page.
//
// `cargo xtask web` writes version and files into these two lines.
const VERSION = "";
const FILES = [];

// One server may have several copies of the page.
const OURS = `wgpu-lora ${self.registration.scope} `;
const CACHE = `${OURS}${VERSION}`;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
});
self.addEventListener("activate", (event) => {
  const old = (names) => names.filter((name) => name.startsWith(OURS) && name !== CACHE);
  event.waitUntil(caches.keys().then((names) => Promise.all(old(names).map((name) => caches.delete(name)))));
});
self.addEventListener("fetch", (event) => {
  const { request } = event;
  // Downloads of models go past, and so does what is elsewhere.
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope) || request.headers.has("range")) return;
  const kept = () => caches.open(CACHE).then((cache) => cache.match(request, { ignoreSearch: true }));
  event.respondWith(fetch(request).catch(async (error) => {
    const response = await kept();
    if (response) return response;
    throw error;
  }));
});
