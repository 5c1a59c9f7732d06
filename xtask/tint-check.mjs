// node tint-check.mjs PACKAGES [DIR]: judges the browser text of every kernel variant with Tint,
// the compiler in Chrome, through the npm package `webgpu` that lies in PACKAGES. Its null backend
// needs no driver and no GPU.
//
// Each shader gets a device with only the features that its row in DIR/manifest.json claims, is
// compiled, and becomes a compute pipeline with its overrides' defaults, under WebGPU's default
// limits. Without DIR: the self test below.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, dir] = process.argv.slice(2);
if (!packages) {
  console.error("usage: node tint-check.mjs PACKAGES [DIR]");
  process.exit(2);
}
const entry = join(resolve(packages), "node_modules", "webgpu", "index.js");
const { create, globals } = await import(pathToFileURL(entry));
Object.assign(globalThis, globals);
const gpu = create(["backend=null"]);

const FEATURES = {
  "f16": "shader-f16",
  "shader-f16": "shader-f16",
  "subgroups": "subgroups",
  "subgroup": "subgroups",
  "large-workgroup": null,
};
const devices = new Map();

/** A device with exactly these features and the default limits. */
async function deviceFor(capabilities) {
  const key = [...capabilities].sort().join("+");
  if (!devices.has(key)) {
    const unknown = capabilities.filter((name) => !(name in FEATURES));
    if (unknown.length) throw new Error(`unknown capability ${unknown}`);
    const adapter = await gpu.requestAdapter();
    const requiredFeatures = capabilities.map((name) => FEATURES[name]).filter(Boolean);
    devices.set(key, await adapter.requestDevice({ requiredFeatures }));
  }
  return devices.get(key);
}

/** null if Tint accepts the shader, else its words. */
async function judge(code, capabilities) {
  const device = await deviceFor(capabilities);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const errors = messages.filter((message) => message.type === "error");
  // The null adapter offers no more than the default limits, so larger workgroups are only
  // compiled.
  const pipeline = !errors.length && !capabilities.includes("large-workgroup");
  if (pipeline) device.createComputePipeline({ layout: "auto", compute: { module } });
  const refused = await device.popErrorScope();
  if (errors.length) {
    const lines = code.split("\n");
    return errors.map((e) => `${e.lineNum}:${e.linePos}: ${e.message}\n    ${lines[e.lineNum - 1] ?? ""}`).join("\n");
  }
  return refused ? refused.message.split("\n")[0] : null;
}

/**
 * Shaders of our own that must pass or fail: a checker that accepts everything would look just as
 * green.
 */
async function selfTest() {
  const kernel = (body, head = "") => `${head}
    @group(0) @binding(0) var<storage, read_write> y: array<f32>;
    override WG: u32 = 64u;
    var<workgroup> part: array<f32, WG>;
    @compute @workgroup_size(WG)
    fn k(@builtin(local_invocation_index) lane: u32) { var s = y[lane]; ${body} part[lane] = s; workgroupBarrier(); y[lane] = part[0]; }`;
  const divergent = "if s > 0.0 { workgroupBarrier(); }";
  const cases = [
    ["plain", true, kernel(""), []],
    ["type error", false, kernel("s += 1u;"), []],
    ["barrier in non-uniform control flow", false, kernel(divergent), []],
    ["subgroups, enabled and claimed", true, kernel("s = subgroupAdd(s);", "enable subgroups;"), ["subgroups"]],
    ["subgroups without enable", false, kernel("s = subgroupAdd(s);"), ["subgroups"]],
    ["subgroups without claim", false, kernel("s = subgroupAdd(s);", "enable subgroups;"), []],
    ["f16, enabled and claimed", true, kernel("s += f32(f16(s));", "enable f16;"), ["f16"]],
    ["f16 without claim", false, kernel("s += f32(f16(s));", "enable f16;"), []],
    ["too many invocations", false, kernel("").replace("64u", "512u"), []],
    ["too many invocations, claimed", true, kernel("").replace("64u", "512u"), ["large-workgroup"]],
    ["override without default", false, kernel("s += f32(T);", "override T: u32;"), []],
  ];
  let failed = 0;
  for (const [name, good, code, capabilities] of cases) {
    const why = await judge(code, capabilities);
    if ((why === null) !== good) {
      failed += 1;
      console.log(`FAILED self test: ${name}: ${why ?? "accepted"}`);
    }
  }
  console.log(`tint self test: ${cases.length} checked, ${failed} failed`);
  return failed;
}

async function checkFolder() {
  const rows = JSON.parse(readFileSync(join(dir, "manifest.json"), "utf8")).filter((row) => row.target === "browser");
  if (!rows.length) throw new Error(`${dir}: no browser shader in manifest.json`);
  let failed = 0;
  for (const row of rows) {
    const why = await judge(readFileSync(join(dir, row.file), "utf8"), row.capabilities).catch((error) => error.message);
    if (why !== null) {
      failed += 1;
      console.log(`FAILED ${row.kernel}[${row.variant}] (${row.file}): ${why}`);
    }
  }
  console.log(`shaders: ${rows.length} checked, ${failed} failed (Tint)`);
  return failed;
}

const failed = dir ? await checkFolder() : await selfTest();
process.exit(failed ? 1 : 0);
