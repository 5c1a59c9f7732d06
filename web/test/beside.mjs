// An adapter with what lies beside it: the page prices as the program does, and gives it back. Part
// of `browser.mjs`, whose helpers it is given.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { native, unzip } from "./native.mjs";
import { serve } from "./server.mjs";

const FILES = ["pricer.json", "neighbours.jsonl.gz"];

/** An adapter that was trained on a few diamonds with neighbours, and what was fitted on it. */
function trained({ assets, model, program, out }) {
  const folder = join(out, "neighbours");
  mkdirSync(folder, { recursive: true });
  const table = readFileSync(join(assets, "diamonds/diamonds.csv"), "utf8").split("\n").slice(0, 121);
  writeFileSync(join(folder, "products.csv"), `${table.join("\n")}\n`);
  const [data, run] = [join(folder, "data"), join(folder, "run")];
  const rows = (name) => join(data, `${name}.jsonl`);
  native(program, ["prepare", join(folder, "products.csv"), "--out", data, "--model", model, "--neighbours", "3", "--neighbour-tokens", "24",
    "--split", "0.7,0.15,0.15", "--json"]);
  native(program, ["train", "--model", model, "--data", rows("train"), "--out", run, "--rank", "4", "--max-steps", "3", "--batch-size", "2",
    "--gradient-accumulation-steps", "1", "--max-length", "256", "--json"]);
  const adapter = join(run, "adapter");
  native(program, ["evaluate", "--model", model, "--adapter", adapter, "--data", rows("test"), "--validation-data", rows("validation"),
    "--limit", "1", "--skip-base", "--out", join(folder, "judged"), "--json"]);
  // Every guess has a weight, so that none can be wrong unseen.
  const pricing = JSON.parse(readFileSync(join(adapter, FILES[0]), "utf8"));
  pricing.temperature = 1.3;
  pricing.blend = { fine_tuned: 0.4, neighbours: 0.3, bag_of_words: 0.1, tfidf_ridge: 0.2 };
  writeFileSync(join(adapter, FILES[0]), JSON.stringify(pricing));
  return adapter;
}

export async function beside({ test, dist, assets, model, program, out, idle, answered, shots, accessible, tab, openIn }) {
  const site = await serve(dist);
  const title = "Diamond, fair cut, clarity SI1, colour E, 0.50 carat";
  let [page, adapter] = [];
  const here = async () => {
    await page.waitForFunction(() => Number(document.body.dataset.answers) >= 1, null, { timeout: 120_000 });
    await idle();
  };
  const choose = async (folder, words) => {
    await tab("models");
    await page.evaluate(() => { document.querySelector("#models-note").textContent = ""; });
    await page.setInputFiles("#folder", folder);
    await page.waitForFunction((source) => new RegExp(source, "s").test(document.querySelector("#models-note").textContent), words.source, { timeout: 60_000 });
    await idle();
  };
  const ask = async () => {
    await tab("price");
    await page.fill("#product [name=title]", title);
    await answered(() => page.click("#ask"));
  };
  /** What the library says, to the last digit. */
  const exact = () => page.evaluate(async (title) => {
    const { call } = await import("./page/engine.js");
    return call("price", { product: { title }, adapter: document.querySelector("#adapter").value });
  }, title);
  const said = (folder) => native(program, ["predict", "--model", model, "--adapter", folder, `Title: ${title}`, "--json"]).at(-1);
  /** Both to the cent, and of the same products. */
  const agree = (ours, theirs) => {
    for (const key of ["price", "low", "high", "mode", "temperature"]) assert.equal(ours[key], theirs[key], key);
    assert.deepEqual(ours.neighbours, theirs.neighbours);
    assert.equal(ours.blend?.price.toFixed(2), theirs.blend?.toFixed(2));
    const cents = (parts) => parts?.map(({ name, weight, guess }) => [name, weight.toFixed(6), guess.toFixed(2)]);
    assert.deepEqual(cents(ours.blend?.parts), cents(theirs.blend_of ?? undefined));
  };

  await test("an adapter with neighbours, temperature and blend prices as the program does, to the cent", async () => {
    adapter = trained({ assets, model, program, out });
    page = await openIn(async (context) => {
      const made = await context.newPage();
      await made.goto(site.url, { waitUntil: "commit" });
      return made;
    });
    await here();
    await choose(adapter, /“adapter” is on/);
    await ask();
    const [ours, theirs] = [await exact(), said(adapter)];
    assert.equal(theirs.neighbours.length, 3);
    assert.equal(theirs.blend_of.length, 4);
    agree(ours, theirs);
    assert.ok(ours.prompt.includes("Similar products:\n$"), ours.prompt);
    assert.equal(await page.textContent("#prompt"), ours.prompt);
    const shown = await page.$$eval("#similar-list li", (lines) => lines.map((line) => [...line.children].map((part) => part.textContent)));
    assert.deepEqual(shown, theirs.neighbours.map(({ price, title }) => [`$${price}`, title]));
    assert.match(await page.textContent("#blend"), /^Blended: \$\d+\. Made of .*words and pairs of them \$\d+ \(20 %\)/);
    assert.match(await page.textContent("#learned"), /has learned from 84 products that cost \$\d/);
    assert.ok(await page.isHidden("#notes"));
    await shots("neighbours");
    await accessible();
    return `$${ours.price}, blended $${ours.blend.price.toFixed(2)}`;
  });
  await test("what lies beside an adapter survives a reload, and the download gives it back", async () => {
    const before = await exact();
    await page.reload();
    await here();
    assert.equal(await page.inputValue("#adapter"), "adapter");
    agree(await exact(), { ...before, blend: before.blend.price, blend_of: before.blend.parts });
    await tab("models");
    assert.match(await page.textContent("#adapters"), /carries texts and prices of 84 training products/);
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#adapters button[aria-label='Download adapter']")]);
    const archive = join(out, "neighbours.zip");
    await download.saveAs(archive);
    const files = unzip(archive);
    for (const name of FILES) assert.deepEqual(files.get(`adapter/${name}`), readFileSync(join(adapter, name)), name);
  });
  await test("an adapter whose index is missing is warned of, as by the program", async () => {
    const without = join(out, "neighbours/without");
    cpSync(adapter, without, { recursive: true });
    rmSync(join(without, FILES[1]));
    await choose(without, /“without” is on\..*3 similar products each, and neighbours\.jsonl\.gz is missing/);
    await ask();
    agree(await exact(), said(without));
    assert.match(await page.textContent("#notes"), /neighbours\.jsonl\.gz is missing.*has a blend, but there is no/);
    assert.ok(await page.isHidden("#similar") && await page.isHidden("#blend"));
    await accessible();
    await page.close();
  });
  site.close();
}
