// Visits and their ends: what is true, what stays, where the page lies, and without a network. Part
// of `browser.mjs`, whose helpers it is given.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { judged, learned } from "../page/texts.js";
import { serve } from "./server.mjs";

export async function visits({ test, dist, program, out, idle, answered, shots, accessible, tab, openIn }) {
  const site = await serve(dist);
  let page;
  const first = async (url) => {
    page = await openIn(async (context) => {
      const made = await context.newPage();
      await made.goto(url, { waitUntil: "commit" });
      return made;
    });
    await page.waitForFunction(() => Number(document.body.dataset.answers) >= 1, null, { timeout: 120_000 });
    await idle();
  };
  const ask = async (title) => {
    await page.fill("#product [name=title]", title);
    await answered(() => page.click("#ask"));
  };
  const train = async (name, table, steps) => {
    await tab("train");
    await page.fill("#train [name=table]", table);
    await page.fill("#train [name=name]", name);
    await page.fill("#train [name=maxSteps]", String(steps));
    // The preview comes a moment later and moves what lies below it.
    const products = table.trim().split("\n").length - 1;
    await page.waitForFunction((n) => document.querySelector("#preview").textContent.includes(`${n} product`), products);
    await page.evaluate(() => delete document.querySelector("#train").dataset.done);
    await page.click("#start");
    await page.waitForFunction(() => document.querySelector("#train").dataset.done, null, { timeout: 300_000 });
    await idle();
  };

  await test("products that the model has learned nothing of are warned of, diamonds are not", async () => {
    await first(site.url);
    for (const title of ["A paperclip", "A private jet with 12 seats"]) {
      await ask(title);
      assert.match(await page.textContent("#foreign"), /Do not trust this price.*diamonds.*never read/);
      assert.equal(await page.textContent("#asked"), title);
    }
    await shots("foreign");
    await accessible();
    await page.click("#examples button:first-child");
    await page.waitForFunction(() => document.querySelector("#asked").textContent.startsWith("Diamond"));
    await idle();
    assert.ok(await page.isHidden("#foreign"));
    // Stones of the adapter's own split that were in no training.
    const rows = join(out, "diamonds");
    execFileSync(program, ["prepare", "assets/diamonds/diamonds.csv", "--out", rows, "--model", "assets/model", "--split", "0.9,0.02,0.08"],
      { stdio: "ignore", cwd: new URL("../..", import.meta.url) });
    const titles = readFileSync(join(rows, "test.jsonl"), "utf8").match(/Title: [^\\]*/g).map((line) => line.slice(7));
    const foreign = await page.evaluate(async (titles) => {
      const { foreignTo } = await import("./page/answer.js");
      return titles.filter((title) => foreignTo("diamonds", { title })).length;
    }, titles);
    assert.ok(titles.length > 150 && foreign < titles.length / 20, `${foreign} of ${titles.length}`);
    return `${foreign} of ${titles.length} held-out diamonds`;
  });
  await test("the model of training texts is the library's", () => {
    // The texts and numbers of src/pricer/familiar.rs.
    const stones = ["ruby", "opal", "pearl", "jade"];
    const texts = [...Array(40).keys()].map((i) => `Ring, ${stones[i % 4]} of ${i % 5}.5 mm, no. ${i}`);
    const kept = learned(texts, texts.map((_, i) => 10 + i));
    assert.deepEqual([kept.texts, kept.low, kept.high, kept.limit], [40, 10, 49, 9.217]);
    const near = (text, expected) => {
      const verdict = judged(text, kept);
      assert.ok(Math.abs(verdict.perplexity / expected - 1) < 1e-9, `${text}: ${verdict.perplexity}`);
      return verdict;
    };
    assert.ok(!near("Ring, jade of 2.5 mm, no. 3", 2.4358218266946983).foreign);
    const other = near("A paperclip, a new one: 3 mm", 40531.14255800637);
    assert.ok(other.foreign);
    assert.deepEqual(other.unseen, ["a", "paperclip", "new", "one"]);
    assert.deepEqual(judged("3. किताब", kept).unseen, ["किताब"]);
  });
  await test("an answer to another product is greyed; links and tabs stand in the address", async () => {
    await page.fill("#product [name=title]", "Diamond, fair cut, clarity SI1, colour E, 0.50 carat");
    assert.match(await page.getAttribute("#answer", "class"), /old/);
    assert.ok(await page.isVisible("#stale"));
    await accessible();
    await answered(() => page.click("#ask"));
    assert.ok(await page.isHidden("#stale"));
    await page.click("#share");
    const link = page.url();
    assert.match(link, /#price\?title=Diamond/);
    await tab("train");
    assert.match(page.url(), /#train$/);
    await page.close();
    await first(link);
    assert.match(await page.textContent("#asked"), /fair cut.*0\.50 carat/);
    await page.goto(`${site.url}/#device`);
    assert.ok(await page.isVisible("#view-device"));
    await tab("price");
  });
  await test("two products: nothing is set aside, no error is shown, and a sentence says why", async () => {
    await train("two", "title,price\nA lamp,12\nA chair,80\n", 2);
    assert.match(await page.textContent("#train-note"), /So few that none can be set aside/);
    assert.equal(await page.locator("#error-chart svg").count(), 0);
    assert.equal(await page.locator("#before-after table").count(), 0);
    assert.equal(await page.locator("#loss-chart svg").count(), 1);
    await accessible();
    await tab("price");
    await ask("A lamp");
    // Too few texts to tell what is foreign, and what it has learned is said.
    assert.match(await page.textContent("#learned"), /“two” has learned from 2 products that cost \$12 to \$80/);
  });
  await test("adapters and the table are there again after a reload", async () => {
    await page.waitForTimeout(500);
    await page.reload();
    await page.waitForFunction(() => Number(document.body.dataset.answers) >= 1, null, { timeout: 120_000 });
    await idle();
    assert.equal(await page.inputValue("#adapter"), "two");
    assert.match(await page.textContent("#answers .tuned h3"), /two/);
    await tab("train");
    await page.waitForFunction(() => /A chair,80/.test(document.querySelector("#train [name=table]").value));
    assert.ok(await page.isVisible("#save"));
    await tab("models");
    await page.click("#adapters button:has-text('Delete')");
    await idle();
    await page.reload();
    await page.waitForFunction(() => Number(document.body.dataset.answers) >= 1, null, { timeout: 120_000 });
    assert.equal(await page.inputValue("#adapter"), "diamonds");
  });
  await test("an adapter whose saving was cut off leaves the one before", async () => {
    const kept = await page.evaluate(async () => {
      // Files are written in place, which only workers can.
      const text = `import { Kept } from "${new URL("storage.js", location.href)}";
        const kept = await Kept.of("test");
        const config = new Uint8Array([1]);
        await kept.save("one", { config, weights: new Uint8Array([1, 1]) }, []);
        await kept.save("one", { config, weights: new Uint8Array([2, 2]) }, []);
        const cut = await kept.save("one", { config, weights: Symbol() }, []).catch(() => "cut");
        const cutAgain = await kept.save("two", { config, weights: Symbol() }, []).catch(() => "cut");
        const names = (await kept.all()).map(({ name, weights }) => [name, ...weights]);
        await kept.save("one", { config, weights: new Uint8Array([3]) }, []);
        const after = (await kept.all()).map(({ name, weights }) => [name, ...weights]);
        await kept.delete("one");
        await kept.delete("two");
        const folders = [];
        for await (const id of kept.folder.keys()) folders.push(id);
        postMessage({ cut, cutAgain, names, after, folders });`;
      const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })), { type: "module" });
      return new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      });
    });
    assert.deepEqual(kept, { cut: "cut", cutAgain: "cut", names: [["one", 2, 2]], after: [["one", 3]], folders: [] });
    await page.close();
  });
  await test("names and pages of the hub are addresses", async () => {
    page = await openIn(async (context) => {
      const made = await context.newPage();
      await made.goto(site.url, { waitUntil: "commit" });
      return made;
    });
    const found = await page.evaluate(async () => {
      const { addressOf, nameOf } = await import("./addresses.js");
      const refused = ["one word", "ftp://x.org/a", "https://huggingface.co/only"].map((text) => {
        try {
          return addressOf(text);
        } catch (error) {
          return error.name;
        }
      });
      const given = ["a/b", "https://huggingface.co/a/b", "huggingface.co/a/b/tree/main", "https://hf.co/a/b/blob/main/x.gguf", "https://x.org/m/"];
      return { addresses: given.map(addressOf), names: given.map((text) => nameOf(addressOf(text))), refused };
    });
    const hub = "https://huggingface.co/a/b/resolve/main/";
    assert.deepEqual(found.addresses, [hub, hub, hub, `${hub}x.gguf`, "https://x.org/m/"]);
    assert.deepEqual(found.names, ["a/b", "a/b", "a/b", "a/b/x.gguf", "m"]);
    assert.deepEqual(found.refused, ["Network", "Network", "Network"]);
    await page.close();
  });
  site.close();

  await test("under a path of any static host, and a second visit without a network", async () => {
    const host = await serve(dist, { under: "/some/where/" });
    await first(`${host.url}/some/where/`);
    assert.ok(host.seen.every(({ path }) => path.startsWith("/some/where/") || path === "/favicon.ico"), JSON.stringify(host.seen.filter(({ path }) => !path.startsWith("/some/where/"))));
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.close();
    host.close();
    await first(`${host.url}/some/where/`);
    assert.match(await page.textContent("#truth"), /Real price/);
    await page.close();
  });
}
