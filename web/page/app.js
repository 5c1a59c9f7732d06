// The page: forms in, answers out. All work is in the worker; each tab is a file.
import { adopted } from "./adapters.js";
import { showDevice } from "./device.js";
import { $ } from "./dom.js";
import { call, enable, onReload, ready, say, startWorker, state, work } from "./engine.js";
import { adopt, open } from "./models.js";
import { ask, showExamples } from "./price.js";
import { showWithoutDevice } from "./recorded.js";
import { onShow, showAddress } from "./tabs.js";
import { restoreTable } from "./training.js";

/** Device and model, with the adapters that were there. */
async function load() {
  const { source, added } = state;
  const examples = showExamples();
  await open();
  await examples;
  await adopt(source);
  // Adapters that the browser had no room to keep.
  for (const { name, files } of added.filter(({ name }) => !state.model.adapters.includes(name))) {
    adopted((await call("addAdapter", { name, files })).info);
    state.added.push({ name, files });
  }
  for (const [name, factor] of state.scales) await call("setScale", { name, factor });
  adopted(state.model);
}
onReload(load);

/** All from the beginning, first answer included; again after trouble. */
async function begin() {
  $("trouble").hidden = true;
  state.busy = false;
  startWorker();
  await work("Opening the device…", load);
  if (!state.gpu) await showWithoutDevice();
  if (!state.model || !$("trouble").hidden) return;
  await ask();
  await restoreTable();
  // Files for a visit without a network: behind the first answer, which they must not delay.
  navigator.serviceWorker?.register(new URL("../service-worker.js", import.meta.url)).catch(() => {});
}

$("again").onclick = () => {
  if ($("again").textContent !== "Dismiss") return begin();
  $("trouble").hidden = true;
  say(ready());
  enable(true);
  return undefined;
};
onShow("device", showDevice);
showAddress();
begin();
