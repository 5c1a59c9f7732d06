// How long a visitor waits: `node first.mjs PACKAGES DIST [REPEATS]` opens the page in a new
// browser each time, on SwiftShader, and prints seconds from the request to the first answer,
// self-test included, and to the end of both answers.
import { createRequire } from "node:module";
import { join } from "node:path";
import { serve } from "./server.mjs";

const [packages, dist, repeats = "5"] = process.argv.slice(2);
const { chromium } = createRequire(join(packages, "package.json"))("playwright-core");
const site = await serve(dist);
for (let i = 0; i < Number(repeats); i++) {
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
  await page.waitForFunction(() => Number(document.body.dataset.answers) >= 1, null, { timeout: 120_000 });
  const all = since();
  await page.click("#tab-device");
  const facts = Object.fromEntries(await page.$$eval("#device tr", (rows) => rows.map((row) => [row.cells[0].textContent, row.cells[1].textContent])));
  console.log(JSON.stringify({ first_answer_seconds: first, both_answers_seconds: all, loaded_in: facts["Loaded in"], self_test: facts["Self-test took"], version: browser.version() }));
  await browser.close();
}
site.close();
