// Compiled, never run: the types of the package as somebody who uses it writes it.
import { Gpu, Model, failure, start, type ErrorName, type MemoryError, type Price, type TrainStep } from "wgpu-lora";

export async function use(files: FileList, signal: AbortSignal): Promise<number> {
  await start();
  const gpu = await Gpu.create({ memoryBytes: 2 ** 30 });
  const subgroups: number = gpu.info.subgroup_max;
  const model = await Model.load(gpu, { url: "https://example.org/model.gguf", signal, onProgress: ({ phase, loaded, total }) => console.log(phase, loaded / total) });
  const other = await Model.load(gpu, { files, quant: "none", precision: "mixed" });
  await model.addAdapter("mine", "https://example.org/adapter/");
  await model.setAdapter(null);
  await model.setPrecision("f32");
  for await (const token of model.generate("Once", { maxTokens: 3, temperature: 0.5, topK: 40, topP: 0.9, seed: 1 })) console.log(token.text, token.id);
  if (model.info.chat) for await (const { text } of model.chat("Hello", { signal })) console.log(text);
  await model.resetChat();
  const price: Price = await model.predictPrice({ title: "A lamp" });
  const dearest: number = Math.max(...price.prices.map(([dollars]) => dollars));
  const similar: string[] = price.neighbours.map(({ title, price }) => `${title} ${price.toFixed(2)}`);
  const blended: number = price.blend?.parts.reduce((sum, { weight, guess }) => sum + weight * guess, 0) ?? price.price;
  const known: number = model.trainedOn("mine")?.texts ?? similar.length;
  let last: TrainStep | undefined;
  for await (const step of model.train([{ prompt: "a", completion: "b" }], { maxSteps: 1, lrSchedulerType: "cosine" })) last = step;
  const { config, weights, pricing, index } = await model.adapterFiles();
  await model.addAdapter("again", { config, weights, pricing, index });
  const { trainingBytes } = await model.memory({ rank: 8 });
  // @ts-expect-error: an adapter has a name or is null
  await model.setAdapter(3);
  // @ts-expect-error: no such storage
  await Model.load(gpu, { files, quant: "int3" });
  try {
    other.free();
  } catch (error) {
    const name = (error as Error).name as ErrorName;
    if (name === "OutOfMemory") console.log((error as MemoryError).neededBytes);
    throw failure(name, "again");
  }
  return dearest + blended + known + subgroups + trainingBytes + (last?.loss ?? 0) + config.length + weights.length;
}
