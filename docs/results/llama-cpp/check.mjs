// Greedy continuations by llama.cpp (npm node-llama-cpp, CPU): a model, the model with an adapter
// beside it, the merged model.
//
//   npm install node-llama-cpp && node check.mjs BASE.gguf LORA.gguf MERGED.gguf TOKENS PROMPT...
//
// Prints a JSON line for each prompt and file: the ids of the prompt, the ids and the text of the
// continuation.
import { getLlama } from "node-llama-cpp";

const [base, lora, merged, count, ...prompts] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });

async function greedy(file, adapter, prompt) {
  const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: 512,
    threads: 1,
    lora: adapter ? { adapters: [{ filePath: adapter, scale: 1 }] } : undefined,
  });
  const sequence = context.getSequence();
  const ids = model.tokenize(prompt, true);
  const out = [];
  for await (const id of sequence.evaluate(ids, { temperature: 0 })) {
    out.push(id);
    if (out.length >= Number(count) || model.isEogToken(id)) break;
  }
  const text = model.detokenize(out, true);
  await context.dispose();
  await model.dispose();
  return { prompt: ids, tokens: out, text };
}

for (const prompt of prompts) {
  for (const [what, file, adapter] of [["base", base], ["adapter", base, lora], ["merged", merged]]) {
    console.log(JSON.stringify({ what, ...(await greedy(file, adapter, prompt)) }));
  }
}
process.exit(0);
