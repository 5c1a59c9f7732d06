// How long a visitor waits: `node first.mjs PACKAGES REPEATS DIST...` opens each page in turns, in
// a new browser on SwiftShader each time, and prints seconds from the request to the first answer,
// self-test included, and to the end of both answers. Of several pages, such as one of an older
// commit, at last how long the first answer of each takes by the median, and over that of the first
// page.
import { createRequire } from "node:module";
import { join } from "node:path";
import { serve } from "./server.mjs";

const [packages, repeats, ...dists] = process.argv.slice(2);
const { chromium } = createRequire(join(packages, "package.json"))("playwright-core");
const firsts = new Map(dists.map((dist) => [dist, []]));

async function visit(dist) {
  const site = await serve(dist);
  const browser = await chromium.launch({
    executablePath: process.env.WGPU_LORA_CHROMIUM ?? "/usr/bin/chromium", headless: true,
    ignoreDefaultArgs: ["--headless", "--headless=old"],
    args: ["--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
  });
  const page = await browser.newPage();
  const start = performance.now();
  const since = () => Number(((performance.now() - start) / 1000).toFixed(2));
  await page.goto(site.url, { waitUntil: "commit" });
  await page.waitForFunction(() => document.querySelector("#answers .price"), null, { timeout: 120_000 });
  const first = since();
  firsts.get(dist).push(first);
  await page.waitForFunction(() => Number(document.body.dataset.answers) >= 1, null, { timeout: 120_000 });
  const all = since();
  await page.click("#tab-device");
  const facts = Object.fromEntries(await page.$$eval("#device tr", (rows) => rows.map((row) => [row.cells[0].textContent, row.cells[1].textContent])));
  console.log(JSON.stringify({ page: dist, first_answer_seconds: first, both_answers_seconds: all, loaded_in: facts["Loaded in"], self_test: facts["Self-test took"], version: browser.version() }));
  await browser.close();
  site.close();
}
// Every other turn backwards: nobody always comes first.
for (let i = 0; i < Number(repeats); i++) for (const dist of i % 2 ? [...dists].reverse() : dists) await visit(dist);

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
};
if (dists.length > 1) {
  const over = median(firsts.get(dists[0]));
  for (const [dist, values] of firsts) console.log(`${dist}: first answer after ${median(values).toFixed(2)} s, ${(median(values) / over).toFixed(3)} of the first page's`);
}
