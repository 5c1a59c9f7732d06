// Free text, streamed.
import { $, make, seconds } from "./dom.js";
import { call, work } from "./engine.js";

let writing;

/** The sampler's settings in a form: empty fields are left to the library. */
export function sampling(form) {
  const number = (name) => (form.elements[name].value === "" ? undefined : Number(form.elements[name].value));
  return { temperature: number("temperature"), topK: number("topK"), topP: number("topP"), seed: number("seed") };
}

$("write").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = $("write");
  const options = { ...sampling(form), maxTokens: Number(form.elements.maxTokens.value) };
  const prompt = form.elements.prompt.value;
  writing = new AbortController();
  $("stop").disabled = false;
  $("text").replaceChildren(make("span", { class: "given" }, prompt));
  $("text-facts").textContent = "";
  const onEvent = ({ text }) => text !== undefined && $("text").append(text);
  const summary = await work("Writing…", () => call("generate", { prompt, options }, { onEvent, signal: writing.signal }), $("text-facts"));
  $("stop").disabled = true;
  if (!summary) return;
  const { tokens, promptTokens, prefillSeconds, decodeTokensPerSecond: speed, finish } = summary;
  const end = { eos: "the end of the text", stop: "a stop word", length: "the number of tokens" }[finish] ?? "Stop";
  $("text-facts").textContent = `${tokens.length} tokens${speed ? `, ${speed.toFixed(1)} a second` : ""}; prompt of ${promptTokens} tokens in ` +
    `${seconds(prefillSeconds)}, ${(promptTokens / prefillSeconds).toFixed(0)} a second; ended by ${end}.`;
});
$("stop").onclick = () => writing?.abort();
