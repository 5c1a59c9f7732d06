/**
 * Compiles the wasm once; `from` is its address or bytes where it does not lie beside this file.
 */
export function start(from?: string | URL | BufferSource): Promise<unknown>;

/** What `error.name` may be. */
export type ErrorName =
  | "NoAdapter" | "OutOfMemory" | "Format" | "MissingTensor" | "Shape" | "Unsupported" | "Invalid"
  | "Device" | "DeviceLost" | "NonFinite" | "Io" | "Network" | "AbortError";

/** `OutOfMemory` says what, how much it needs and how much there is. */
export interface MemoryError extends Error { what: string; neededBytes: number; limitBytes: number }

export function failure(name: ErrorName, message: string): Error;

export interface GpuInfo {
  name: string;
  backend: string;
  kind: string;
  driver: string;
  subgroup_min: number;
  subgroup_max: number;
  f16: boolean;
  timestamps: boolean;
  max_binding_bytes: number;
  max_buffer_bytes: number;
  max_workgroup_bytes: number;
  max_workgroup_size: number;
  max_storage_buffers: number;
  /** The processor computes. */
  software: boolean;
  subgroup: number;
  /** Kernel and storage to the variant that runs. */
  variants: Record<string, string>;
}

export class Gpu {
  private constructor();
  /**
   * Opens the browser's best adapter. `variant`: "" or "baseline". `memoryBytes`: what models and
   * training may take, where the caller knows it; more is refused with `OutOfMemory` before
   * anything is allocated. Throws `NoAdapter`.
   */
  static create(options?: { variant?: string; memoryBytes?: number }): Promise<Gpu>;
  readonly info: GpuInfo;
  /** Whether the driver has given the device up. */
  readonly lost: boolean;
  free(): void;
}

export interface Progress {
  phase: "download" | "load";
  /** Bytes. */
  loaded: number;
  /** Bytes; 0 if not known. */
  total: number;
}

export type ModelFile = File | { name: string; blob: Blob };

export interface LoadOptions {
  /** A folder with config.json, tokenizer.json and safetensors, or a .gguf. */
  url?: string | URL;
  files?: Iterable<ModelFile>;
  name?: string;
  /** Storage of the linear layers: NF4 (default), or as the file has them. */
  quant?: "nf4" | "none";
  /** As for `setPrecision`; "f32" by default. */
  precision?: Precision;
  /** Longest sequence, tokens; 1024 by default. */
  maxLength?: number;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

/**
 * "mixed": factors of products have 16 bits where the device has `shader-f16` and gains by it;
 * probabilities then differ in the third digit.
 */
export type Precision = "f32" | "mixed";

export interface ModelInfo {
  name: string;
  precision: Precision;
  layers: number;
  hiddenSize: number;
  vocabSize: number;
  parameters: number;
  weightBytes: number;
  adapters: string[];
  adapter: string | null;
  maxLength: number;
  /** Whether it has a chat template, so that `chat` answers. */
  chat: boolean;
  /**
   * What a user should know about the model's files, such as settings in them that nobody reads.
   */
  notes: string[];
}

export interface GenerateOptions {
  /** 256 by default. */
  maxTokens?: number;
  /** 0 (default) takes the most probable token. */
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
  /** 1 (default) is none. */
  repetitionPenalty?: number;
  /**
   * Texts that end the answer and do not belong to it; special tokens count as they are written.
   */
  stop?: string[];
  signal?: AbortSignal;
  onFinish?: (summary: Generated) => void;
}

export interface Token { id: number; text: string }

export interface Generated {
  promptTokens: number;
  tokens: number[];
  finish: "eos" | "stop" | "length" | null;
  /** Of a conversation: its oldest turns that were forgotten, to have room. */
  turnsDropped: number;
  prefillSeconds: number;
  decodeTokensPerSecond: number | null;
}

export interface NextToken { id: number; text: string; logit: number; probability: number }

/** A product's fields, or the whole prompt. */
export type Product =
  | { title: string; category?: string; brand?: string; description?: string; details?: string }
  | { prompt: string };

export interface Price {
  prompt: string;
  /** The greedy answer behind `Price is $`, and the number in it. */
  text: string;
  guess: number;
  /** The median. */
  price: number;
  /** 80 % of the probability lies between them. */
  low: number;
  high: number;
  mean: number;
  mode: number;
  /** Share of the probability that is on prices. */
  mass: number;
  /** Whole dollars and their probabilities at the temperature, which sum to 1. */
  prices: [number, number][];
  /** Of the interval and `prices`, fitted so that 8 in 10 hold; null without one. */
  temperature: number | null;
  /** The similar products in the prompt, which the adapter was trained on. */
  neighbours: { price: number; title: string }[];
  /**
   * The median weighed together with guesses of neighbours and words; null where no weights lie
   * beside the adapter.
   */
  blend: { price: number; parts: { name: string; weight: number; guess: number }[] } | null;
  /** What a user should know: files that are missing beside the adapter, a text that was cut. */
  notes: string[];
  promptTokens: number;
  seconds: number;
}

export interface KernelCheck { variant: string; error: number; bound: number; ok: boolean }

export type Row = { prompt: string; completion: string } | { text: string };

/** Settings of the command line in camelCase. */
export interface TrainOptions {
  /** The new adapter's name; "trained" by default. */
  name?: string;
  signal?: AbortSignal;
  rank?: number;
  loraAlpha?: number;
  loraDropout?: number;
  targetModules?: string | string[];
  useRslora?: boolean;
  useDora?: boolean;
  maxSteps?: number;
  numTrainEpochs?: number;
  batchSize?: number;
  gradientAccumulationSteps?: number;
  /** Tokens kept of a row; 1024 by default, or the model's limit if that is less. */
  maxLength?: number;
  learningRate?: number;
  lrSchedulerType?: "constant" | "linear" | "cosine";
  warmupSteps?: number;
  warmupRatio?: number;
  weightDecay?: number;
  maxGradNorm?: number;
  /** Of activations and products while training; "f32" by default. */
  precision?: Precision;
  seed?: number;
}

export interface TrainStep {
  step: number;
  total: number;
  epoch: number;
  loss: number;
  learning_rate: number;
  grad_norm: number;
  target_tokens: number;
  tokens_per_second: number;
  seconds: number;
}

export type AdapterSource = string | URL | Iterable<ModelFile> | AdapterFiles;
/**
 * PEFT's two files, and where an adapter prices `pricer.json` and the index of neighbours
 * (`neighbours.jsonl.gz`).
 */
export interface AdapterFiles { config: Uint8Array; weights: Uint8Array; pricing?: Uint8Array; index?: Uint8Array }

export class Model {
  private constructor();
  static load(gpu: Gpu, options: LoadOptions): Promise<Model>;
  readonly info: ModelInfo;
  /** Resolves to what of the adapter changes nothing and what is missing beside it, a line each. */
  addAdapter(name: string, source: AdapterSource, options?: { signal?: AbortSignal; onProgress?: (p: { loaded: number; total: number }) => void }): Promise<string[]>;
  removeAdapter(name: string): Promise<void>;
  /** Of the index beside an adapter; null without one. */
  trainedOn(name: string): { texts: number; low: number; high: number } | null;
  /** `null` is the base model. */
  setAdapter(name: string | null): Promise<void>;
  /** 0 is the base model, 1 as trained. */
  setScale(name: string, factor: number): Promise<void>;
  setPrecision(precision: Precision): Promise<void>;
  adapterFiles(): Promise<AdapterFiles>;
  selfTest(options?: { rest?: boolean }): Promise<KernelCheck[]>;
  nextTokens(prompt: string, n?: number): Promise<NextToken[]>;
  /** `onProgress` is told which share is done. */
  predictPrice(product: Product, options?: { signal?: AbortSignal; onProgress?: (share: number) => void }): Promise<Price>;
  pricePrompt(product: Product): string;
  priceRow(product: Product, price: string | number): { prompt: string; completion: string; price: number };
  memory(settings?: TrainOptions): Promise<{ deviceBytes: number; trainingBytes: number }>;
  countTokens(text: string): number;
  generate(prompt: string, options?: GenerateOptions): AsyncGenerator<Token, void, void>;
  /** Answers a message of a conversation; what was said stays until `resetChat`. */
  chat(message: string, options?: GenerateOptions): AsyncGenerator<Token, void, void>;
  resetChat(): Promise<void>;
  train(rows: Row[], options?: TrainOptions): AsyncGenerator<TrainStep, void, void>;
  free(): void;
}
