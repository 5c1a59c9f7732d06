// Which adapter answers, how strongly, its files, and what it was trained on.
import { ADAPTER_FILES, NOTE, TEXTS } from "../files.js";
import { $, button, make } from "./dom.js";
import { call, enable, state, work } from "./engine.js";
import { askAgain, showPrompt } from "./price.js";
import { rowsOf, showWrite } from "./write.js";
import { zip } from "./zip.js";

/** Remembers which adapter answered last. */
const LAST = "adapter";

function showScale(factor) {
  $("scale").value = factor;
  $("scale-out").textContent = factor.toFixed(2);
}

/** Adapters that are this browser's own: trained or dropped here. */
export const isOwn = (name) => state.added.some((one) => one.name === name);

/** That whoever gets an adapter can read what it was trained on, where an index lies beside it. */
function carried(name) {
  if (!state.added.find((one) => one.name === name)?.files.index) return [];
  return [make("span", { class: "quiet" }, ` carries texts and prices of ${state.texts.get(name).texts.toLocaleString("en")} training products`)];
}

/** Takes over what the worker says about the model: its adapters into the list and the menu. */
export function adopted(info) {
  state.model = info;
  const select = $("adapter");
  select.replaceChildren(make("option", { value: "" }, "nothing"), ...info.adapters.map((name) => make("option", { value: name }, name)));
  select.value = info.adapter ?? "";
  showScale(state.scales.get(select.value) ?? 1);
  showWrite();
  $("try").hidden = state.added.length === 0;
  const list = info.adapters.map((name) => make("li", {}, make("span", { class: "name" }, name, ...carried(name)), button("Download", `Download ${name}`, () => save(name)),
    ...(isOwn(name) ? [button("Delete", `Delete ${name}`, () => forget(name))] : [])));
  $("adapters").replaceChildren(...(list.length ? list : [make("li", { class: "quiet" }, "None.")]));
}

/** Takes a new adapter: what it was trained on, and its files for when the device was lost. */
export function took(name, files, texts) {
  state.scales.delete(name);
  state.texts.set(name, texts);
  state.added = [...state.added.filter((one) => one.name !== name), { name, files }];
  localStorage.setItem(LAST, name);
}

/** Adds what is kept in this browser for the model, and lets the one answer that answered last. */
export async function restore() {
  const { info, added } = await call("keptAdapters").catch(() => ({ info: state.model, added: [] }));
  for (const { name, files } of added) state.texts.set(name, files.texts);
  state.added = added;
  const last = localStorage.getItem(LAST);
  const other = info.adapters.find((name) => !isOwn(name)) ?? null;
  const chosen = last === "" ? null : info.adapters.includes(last) ? last : other;
  adopted(chosen === (info.adapter ?? null) ? info : await call("setAdapter", { name: chosen }));
}

async function forget(name) {
  state.added = state.added.filter((one) => one.name !== name);
  state.texts.delete(name);
  const info = await work("Deleting the adapter…", () => call("forgetAdapter", { name }));
  if (info) adopted(info);
  enable(!state.busy);
}

async function save(name) {
  const files = await work("Collecting the adapter…", () => call("adapterFiles", { name }));
  if (!files) return;
  const json = (folder, file, value) => (value ? [{ name: `${folder}/${file}`, bytes: new TextEncoder().encode(`${JSON.stringify(value)}\n`) }] : []);
  const archive = zip([
    ...Object.entries(ADAPTER_FILES).filter(([key]) => files[key]).map(([key, file]) => ({ name: `${name}/${file}`, bytes: files[key] })),
    ...json(name, TEXTS, state.texts.get(name)), ...json(name, NOTE, rowsOf(name) && { rows: rowsOf(name) }),
  ]);
  const link = make("a", { href: URL.createObjectURL(archive), download: `${name}.zip` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
$("save").onclick = () => save($("adapter").value);

$("adapter").addEventListener("change", async () => {
  const name = $("adapter").value || null;
  localStorage.setItem(LAST, name ?? "");
  await work("Switching…", async () => adopted(await call("setAdapter", { name })));
  await showPrompt();
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
