// Where the browser offers no graphics device: an answer and a training that were recorded, and
// what to do about it.
import { showRecorded } from "./answer.js";
import { $, make } from "./dom.js";
import { fill } from "./price.js";
import { showCurves } from "./training.js";

/** What turns WebGPU on, by browser and system. */
function steps() {
  const { userAgent: agent } = navigator;
  const phone = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : null;
  const [mac, linux] = [/Mac OS X/.test(agent) && !phone, /Linux/.test(agent) && !phone];
  if (phone === "iOS") return ["iPhones and iPads have WebGPU from iOS 26 on: update the system, then open this page in Safari."];
  if (phone === "Android") return ["Open this page in Chrome 121 or newer, on Android 12 or newer."];
  if (/Firefox/.test(agent)) {
    return linux || mac
      ? ["In Firefox on this system WebGPU may still be off: open about:config, set dom.webgpu.enabled to true, start Firefox again.", "Or open this page in Chrome or Edge."]
      : ["Update Firefox to 141 or newer.", "Or open this page in Chrome or Edge."];
  }
  if (/Chrome|Edg/.test(agent)) {
    const chrome = /Edg/.test(agent) ? "edge" : "chrome";
    return [
      `Open ${chrome}://settings/system and turn on “Use graphics acceleration when available”.`,
      ...(linux ? [`On Linux open ${chrome}://flags, enable “Vulkan” and “Unsafe WebGPU Support”, and start the browser again.`] : ["Update the graphics driver, or the system."]),
      `${chrome}://gpu says in the line “WebGPU” what is missing.`,
    ];
  }
  if (/Safari/.test(agent) && mac) return ["Update to macOS 26, or to Safari 26.", "Or open this page in Chrome or Edge."];
  return ["Open this page in a current Chrome, Edge, Firefox or Safari."];
}

/** Fills the page with what a device would have shown. */
export async function showWithoutDevice() {
  const response = await fetch("embedded/recorded.json").catch(() => null);
  const list = make("ol", {}, ...steps().map((step) => make("li", {}, step)));
  $("without").replaceChildren(make("p", {}, "To run it yourself:"), list);
  $("without").hidden = false;
  $("device").tBodies[0].rows[0].cells[1].textContent = "this browser offers none";
  if (!response?.ok) return;
  const { product, answers, curves, device } = await response.json();
  fill(product);
  const learned = `Recorded on ${device}: this browser gives the page no graphics device to answer with.`;
  showRecorded({ product, answers, learned });
  showCurves(curves);
  $("train-time").textContent = `A recorded training: ${curves.total} steps on the 200 diamonds of the example.`;
}
