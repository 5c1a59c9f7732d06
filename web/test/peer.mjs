// A GGUF in the page and in npm's @wllama/wllama (llama.cpp), in the same Chromium on the same
// device: `node peer.mjs PACKAGES DIST GGUF-FOLDER GGUF-NAME WLLAMA-FOLDER`. WLLAMA-FOLDER is
// node_modules/@wllama/wllama.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { serve } from "./server.mjs";

const [packages, dist, folder, name, wllama] = process.argv.slice(2);
const { chromium } = createRequire(join(packages, "package.json"))("playwright-core");
const browser = await chromium.launch({
  executablePath: process.env.WGPU_LORA_CHROMIUM ?? "/usr/bin/chromium", headless: true,
  ignoreDefaultArgs: ["--headless", "--headless=old"],
  args: ["--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
});
const text = Array.from({ length: 12 }, (_, i) => `The price of item number ${i} is ${7 * i + 3} dollars.`).join(" ");
const TOKENS = 16;

/** MiB that renderers and the GPU process hold. */
async function memory() {
  const { processInfo } = await (await browser.newBrowserCDPSession()).send("SystemInfo.getProcessInfo");
  const rss = processInfo.filter(({ type }) => /renderer|gpu/i.test(type)).map(({ id }) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf8"))[1]));
  return Math.round(rss.reduce((a, b) => a + b, 0) / 1024);
}
const show = (row) => console.log(JSON.stringify(row));

async function ours(site) {
  const page = await browser.newPage();
  await page.goto(site.url);
  const ready = () => page.waitForFunction(() => document.querySelector("#status-text").textContent.startsWith("Ready") && !document.querySelector("#ask").disabled, null, { timeout: 300_000 });
  await ready();
  await page.click("#tab-models");
  await page.setInputFiles("#files", join(folder, name));
  await page.waitForFunction(() => /is loaded/.test(document.querySelector("#models-note").textContent), null, { timeout: 600_000 });
  await ready();
  const load = /\(([\d.]+) s\)/.exec(await page.textContent("#models-note"))[1];
  await page.click("#tab-write");
  await page.fill("#write [name=prompt]", text);
  await page.fill("#write [name=temperature]", "0");
  await page.fill("#write [name=maxTokens]", String(TOKENS));
  for (const round of [1, 2]) {
    await page.click("#go");
    await page.waitForFunction(() => /ended by/.test(document.querySelector("#text-facts").textContent), null, { timeout: 900_000 });
    await ready();
    const facts = await page.textContent("#text-facts");
    const [, decode] = /, ([\d.]+) a second/.exec(facts);
    const [, prompt, seconds] = /prompt of (\d+) tokens in ([\d.]+) s/.exec(facts);
    show({ program: "wgpu-lora", device: "SwiftShader", round, load_seconds: Number(load), prompt_tokens: Number(prompt), prefill_tokens_per_second: prompt / seconds, decode_tokens_per_second: Number(decode), mib: await memory() });
    await page.evaluate(() => { document.querySelector("#text-facts").textContent = ""; });
  }
  await page.close();
}

async function theirs(site, models, layers) {
  const page = await browser.newPage();
  await page.goto(`${site.url}/package.json`);
  // What llama.cpp says of the layers it put on a device.
  const said = [];
  page.on("console", (message) => /offload|webgpu/i.test(message.text()) && said.push(message.text().trim()));
  const row = await page.evaluate(async ({ models, name, text, layers, tokens }) => {
    const { Wllama } = await import("/esm/index.js");
    const wllama = new Wllama({ default: "/esm/wasm/wllama.wasm" }, { suppressNativeLog: false });
    const blob = await (await fetch(`${models}/${name}`)).blob();
    const clock = performance.now();
    await wllama.loadModel([blob], { n_ctx: 1024, n_gpu_layers: layers });
    const load = (performance.now() - clock) / 1000;
    const { timings } = await wllama.createCompletion({ prompt: text, max_tokens: tokens, temperature: 0 });
    return {
      load_seconds: load, prompt_tokens: timings.prompt_n, prefill_tokens_per_second: timings.prompt_per_second,
      decode_tokens_per_second: timings.predicted_per_second, threads: wllama.getNumThreads(), webgpu: wllama.isSupportWebGPU(),
    };
  }, { models: models.url, name, text, layers, tokens: TOKENS });
  show({ program: "@wllama/wllama", layers_asked_for_on_the_gpu: layers, ...row, mib: await memory(), said: said.slice(0, 6) });
  await page.close();
}

const [page, peer, models] = [await serve(dist), await serve(wllama), await serve(folder)];
for (const run of [() => ours(page), () => theirs(peer, models, 0), () => theirs(peer, models, 999)]) {
  await Promise.race([run(), new Promise((_, reject) => setTimeout(() => reject(new Error("20 minutes")), 1_200_000))]).catch((error) => console.log(String(error).slice(0, 400)));
}
await browser.close();
for (const server of [page, peer, models]) server.close();
process.exit(0);
