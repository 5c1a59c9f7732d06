// Prices by llama.cpp (npm node-llama-cpp, CPU): the greedy answer to each prompt of a file of
// rows.
//
//   npm install node-llama-cpp && node prices.mjs MODEL.gguf LORA.gguf|- ROWS.jsonl COUNT
//
// Prints a JSON line for each row.
import fs from "node:fs";
import { getLlama } from "node-llama-cpp";

const [file, adapter, data, count] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
const context = await model.createContext({
  contextSize: 256,
  threads: 1,
  lora: adapter === "-" ? undefined : { adapters: [{ filePath: adapter, scale: 1 }] },
});
const sequence = context.getSequence();
const rows = fs.readFileSync(data, "utf8").trim().split("\n").slice(0, Number(count));
for (const [row, line] of rows.entries()) {
  await sequence.clearHistory();
  const out = [];
  for await (const id of sequence.evaluate(model.tokenize(JSON.parse(line).prompt, true), { temperature: 0 })) {
    out.push(id);
    if (out.length >= 8 || model.isEogToken(id)) break;
  }
  console.log(JSON.stringify({ row, text: model.detokenize(out, true) }));
}
process.exit(0);
