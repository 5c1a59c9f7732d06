// The capability card and the self-test's table.
import { $, make, seconds, size } from "./dom.js";
import { call, state, work } from "./engine.js";
import { settings } from "./training.js";

const BROWSER = "the browser does not say";

/**
 * Bytes of memory that a page can know of: only what small computers have; others say "this or
 * more".
 */
export function memoryLimit() {
  const gigabytes = navigator.deviceMemory;
  return gigabytes !== undefined && gigabytes < 8 ? gigabytes * 2 ** 30 : undefined;
}

function available(gpu) {
  if (navigator.deviceMemory === undefined) return BROWSER;
  const much = `${navigator.deviceMemory} GB${memoryLimit() === undefined ? " or more" : ""} in the computer`;
  return gpu.software ? much : `${much}; of the graphics card ${BROWSER}`;
}

/** Whether the user has chosen products at 16 bits, and the device has kernels for it. */
export const precision = () => ($("half").checked && halves() > 0 ? "mixed" : "f32");

/** Variants that compute at 16 bits where they may. */
const halves = () => Object.values(state.gpu?.variants ?? {}).filter((name) => name.includes("[workgroup_f16")).length;

function half(gpu, model) {
  if (!gpu.f16) return "not offered (not needed)";
  if (halves() === 0) return "offered, no kernel here gains by it";
  return model?.precision === "mixed" ? `offered, in use: products, in ${halves()} variants` : "offered, in use when chosen below";
}

/** One row for what the device offers, whether or not it is used. */
function feature(offered, used, why) {
  if (!offered) return "not offered (not needed)";
  return used ? `offered, in use: ${why}` : `offered, no kernel here gains by it`;
}

export async function showDevice() {
  const { gpu, model } = state;
  if (!gpu) return;
  $("half-choice").hidden = halves() === 0;
  const variants = Object.values(gpu.variants);
  const uses = (word) => variants.filter((name) => name.includes(word)).length;
  const subgroups = uses("subgroup") + uses("vec8");
  const rows = [
    ["Device", `${gpu.name || "not named by the browser"}${gpu.software ? " (software: the processor computes)" : ""}`],
    ...(gpu.driver ? [["Driver", gpu.driver]] : []),
    ["16-bit floats", half(gpu, model)],
    ["Subgroups", feature(gpu.subgroup_max > 0, subgroups > 0, `${gpu.subgroup_min === gpu.subgroup_max ? "" : `${gpu.subgroup_min} to `}${gpu.subgroup_max} invocations, in ${subgroups} variants`)],
    ["Largest buffer", `${size(gpu.max_buffer_bytes)}, of which a kernel sees ${size(gpu.max_binding_bytes)}`],
    ["Workgroup", `${gpu.max_workgroup_size} invocations, ${(gpu.max_workgroup_bytes / 1024).toFixed(0)} KiB`],
    ["Memory there", available(gpu)],
  ];
  if (model) {
    const memory = await call("memory", { settings: { ...settings(), maxLength: 128 } }).catch(() => null);
    if (memory) {
      rows.push(["Memory needed", `${size(model.weightBytes)} for the model; ${size(memory.deviceBytes)} in use now, adapters and all`]);
      rows.push(["… to train", `${size(memory.trainingBytes)} with the settings under Train and rows of 128 tokens`]);
    }
    rows.push(["Model", `${model.name}: ${model.layers} layers, width ${model.hiddenSize}, vocabulary ${model.vocabSize}`]);
    rows.push(["Loaded in", seconds(state.loadSeconds)], ["Self-test took", seconds(state.testSeconds)]);
  }
  $("device").replaceChildren(make("tbody", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value))))));
}

export function showTests(checks, more = false) {
  if (!more) state.tested = checks;
  const all = more ? [...state.tested, ...checks] : checks;
  const wrong = all.filter((check) => !check.ok).length;
  $("test-facts").textContent = `${all.length} kernels compared with a plain calculation on the processor; ${wrong === 0 ? "all agree" : `${wrong} disagree`}.`;
  $("tests").tBodies[0].replaceChildren(...all.map(({ variant, error, bound, ok }) => make("tr", {},
    make("td", {}, variant), make("td", {}, error === 0 ? "0" : error.toExponential(1)), make("td", {}, bound.toExponential(0)),
    make("td", ok ? {} : { class: "bad" }, ok ? "agrees" : "WRONG"))));
}

/** The kernels that training needs beyond those of an answer; tested once per device. */
export async function testRest() {
  state.restTested ??= await call("selfTest", { rest: true });
  showTests(state.restTested, true);
  return state.restTested;
}

$("half").onchange = async () => {
  state.restTested = null;
  const done = await work("Testing the kernels…", () => call("setPrecision", { precision: precision() }), $("half-note"));
  if (!done) return;
  state.model = done.info;
  showTests(done.checks);
  $("half-note").textContent = done.wrong ? `This device computes ${done.wrong.variant} wrongly, so products stay at 32 bits.` : "";
  if (done.wrong) $("half").checked = false;
  showDevice();
};
$("test-rest").onclick = () => work("Testing the training kernels…", testRest);
