// llama.cpp's Vulkan backend through node-llama-cpp, on the GGUF that `cargo xtask models` leaves:
//   npm install --prefix DIR node-llama-cpp@3
//   GGML_VK_VISIBLE_DEVICES=0 node benches/peers/llama.mjs DIR MODEL.gguf [TOKENS] [GENERATED]
// (the variable lets it use a software Vulkan device). Prints one JSON object: prompt and
// generation in tokens a second.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const [dir, file, tokens = "128", generated = "16"] = process.argv.slice(2);
if (!file) { console.error("usage: llama.mjs DIR MODEL.gguf [TOKENS] [GENERATED]"); process.exit(2); }
const entry = createRequire(path.resolve(dir, "x.js")).resolve("node-llama-cpp");
const { getLlama } = await import(pathToFileURL(entry));

const llama = await getLlama({ gpu: "vulkan", build: "never" });
const model = await llama.loadModel({ modelPath: file, gpuLayers: "max" });
const context = await model.createContext({ contextSize: 512, batchSize: 512, sequences: 1 });
const sequence = context.getSequence();
const ids = Array.from({ length: Number(tokens) + 1 }, (_, i) => (i * 7919 + 13) % 40000 + 100);

const prompt = async () => {
  await sequence.clearHistory();
  const start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, Number(tokens)));
  return (performance.now() - start) / 1e3;
};
await prompt(); // compiles
const seconds = await prompt();

let count = 0;
let start = 0;
for await (const _ of sequence.evaluate([ids.at(-1)], { temperature: 0, yieldEogToken: true })) {
  // The first token is not timed.
  if (count++ === 0) start = performance.now();
  if (count > Number(generated)) break;
}
const decode = (performance.now() - start) / 1e3 / (count - 1);
console.log(JSON.stringify({
  name: "llama.cpp Vulkan", gpu: llama.gpu, devices: await llama.getGpuDeviceNames(), model: path.basename(file),
  tokens: Number(tokens), prefill_tokens_per_second: Number(tokens) / seconds,
  generated: count - 1, decode_tokens_per_second: 1 / decode,
}));
process.exit(0);
