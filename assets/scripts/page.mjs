// What the page shows of the diamonds' adapter, from the products that its training has and has not
// seen: `node assets/scripts/page.mjs PROGRAM OUT`, in the clone. Writes
// adapter-diamonds/training_texts.json (how familiar a text is) and page/examples.json; OUT gets
// the rows. `web/test/record.mjs` writes page/recorded.json.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { learned } from "../../web/page/texts.js";

const [program, out] = process.argv.slice(2);
// The split of the adapter's card.
execFileSync(program, ["prepare", "assets/diamonds/diamonds.csv", "--out", out, "--model", "assets/model", "--split", "0.9,0.02,0.08"], { stdio: "ignore" });
const rows = (part) => readFileSync(join(out, `${part}.jsonl`), "utf8").trim().split("\n").map((line) => {
  const { prompt, completion } = JSON.parse(line);
  return { title: /^Title: (.*)$/m.exec(prompt)[1], price: Number(completion) };
});

const train = rows("train");
const kept = learned(train.map(({ title }) => title), train.map(({ price }) => price));
const about = { what: "diamonds", note: "Prices are those of 2008." };
writeFileSync("assets/adapter-diamonds/training_texts.json", `${JSON.stringify({ ...about, ...kept })}\n`);

// Of the held-out stones those in the middle of the prices, near the lowest and near the highest.
const test = rows("test").sort((a, b) => a.price - b.price);
const examples = [0.5, 0.1, 0.9].map((share) => test[Math.floor(share * test.length)]).map(({ title, price }) => {
  const [, cut, , , carat] = /^Diamond, (.*) cut, clarity (.*), colour (.*), (.*) carat$/.exec(title).map(String);
  return { name: `Diamond: ${cut}, ${Number(carat)} carat`, title, price, about: "The model has never seen this stone." };
});
const paperclip = { name: "Not a diamond: a paperclip", title: "A paperclip", price: 0.05, about: "It has seen diamonds only." };
mkdirSync("assets/page", { recursive: true });
writeFileSync("assets/page/examples.json", `${JSON.stringify([...examples, paperclip], null, 1)}\n`);
