// What visitors without WebGPU see: `node record.mjs PACKAGES DIST OUT.json` asks the page for the
// first example's price, trains on the sample table with the page's own settings, and writes down
// what came: see web/page/recorded.js.
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { serve } from "./server.mjs";

const [packages, dist, out] = process.argv.slice(2);
const { chromium } = createRequire(join(packages, "package.json"))("playwright-core");
const site = await serve(dist);
const browser = await chromium.launch({
  executablePath: process.env.WGPU_LORA_CHROMIUM ?? "/usr/bin/chromium", headless: true,
  ignoreDefaultArgs: ["--headless", "--headless=old"],
  args: ["--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
});
const page = await browser.newPage();
await page.goto(site.url, { waitUntil: "commit" });
await page.waitForFunction(() => Number(document.body.dataset.answers) >= 1, null, { timeout: 120_000 });
const recorded = await page.evaluate(async () => {
  const { call, state } = await import("./page/engine.js");
  const { settings } = await import("./page/training.js");
  const { products } = await import("./page/table.js");
  const [{ title, price, about }] = await (await fetch("embedded/examples.json")).json();
  const brief = ({ prices, prompt, ...answer }) => ({ ...answer, prompt, prices: prices.filter(([, p]) => p > 1e-4).map(([price, p]) => [price, Number(p.toFixed(5))]) });
  const answers = [];
  for (const [kind, adapter] of [["tuned", state.model.adapter], ["base", null]]) answers.push({ kind, answer: brief(await call("price", { product: { title }, adapter })) });
  const table = products((await (await fetch("embedded/products.csv")).text()).split("\n").slice(0, 201).join("\n"));
  const curves = { losses: [], errors: [] };
  const onEvent = ({ held, guessing, line, error }) => {
    if (held !== undefined) Object.assign(curves, { held, guessing: Number(guessing.toFixed(1)) });
    if (error !== undefined) curves.errors.push([line.step, Number(error.toFixed(1))]);
    if (line?.step > 0) Object.assign(curves, { total: line.total }).losses.push([line.step, Number(line.loss.toFixed(3))]);
  };
  await call("train", { table, name: "recorded", settings: settings() }, { onEvent });
  return { device: state.gpu.software ? "a software device" : state.gpu.name, product: { title, price, about }, answers, curves };
});
writeFileSync(out, `${JSON.stringify(recorded)}\n`);
console.log(`${out}: ${recorded.curves.losses.length} steps, error ${recorded.curves.errors.map(([, error]) => error).join(", ")}`);
await browser.close();
site.close();
