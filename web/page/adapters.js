// Which adapter answers, how strongly, and its files.
import { $, button, make } from "./dom.js";
import { call, state, work } from "./engine.js";
import { askAgain } from "./price.js";
import { zip } from "./zip.js";

function showScale(factor) {
  $("scale").value = factor;
  $("scale-out").textContent = factor.toFixed(2);
}

/** Takes over what the worker says about the model: its adapters into the list and the menu. */
export function adopted(info) {
  state.model = info;
  const select = $("adapter");
  select.replaceChildren(make("option", { value: "" }, "none (base model)"), ...info.adapters.map((name) => make("option", { value: name }, name)));
  select.value = info.adapter ?? "";
  showScale(state.scales.get(select.value) ?? 1);
  const list = info.adapters.map((name) => make("li", {}, make("span", { class: "name" }, name), button("Download", `Download ${name}`, () => save(name))));
  $("adapters").replaceChildren(...(list.length ? list : [make("li", { class: "quiet" }, "None.")]));
}

/** Keeps a new adapter's files, so that it is there again after the device was lost. */
export function keep(name, files) {
  state.scales.delete(name);
  state.added = [...state.added.filter((one) => one.name !== name), { name, files }];
}

async function save(name) {
  const files = await work("Collecting the adapter…", () => call("adapterFiles", { name }));
  if (!files) return;
  const archive = zip([
    { name: `${name}/adapter_config.json`, bytes: files.config },
    { name: `${name}/adapter_model.safetensors`, bytes: files.weights },
  ]);
  const link = make("a", { href: URL.createObjectURL(archive), download: `${name}.zip` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
$("save").onclick = () => save($("adapter").value);

$("adapter").addEventListener("change", async () => {
  const name = $("adapter").value || null;
  await work("Switching the adapter…", async () => adopted(await call("setAdapter", { name })));
  await askAgain();
});
$("scale").addEventListener("input", () => showScale(Number($("scale").value)));
$("scale").addEventListener("change", async () => {
  const [name, factor] = [$("adapter").value, Number($("scale").value)];
  await work("Changing the strength…", async () => {
    await call("setScale", { name, factor });
    state.scales.set(name, factor);
  });
  await askAgain();
});
