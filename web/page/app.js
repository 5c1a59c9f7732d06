// The page: forms in, answers out. All work is in the worker; each tab is a file.
import "./training.js";
import "./write.js";
import { adopted } from "./adapters.js";
import { showDevice } from "./device.js";
import { $ } from "./dom.js";
import { call, enable, ready, say, startWorker, state, work } from "./engine.js";
import { adopt, open } from "./models.js";
import { ask } from "./price.js";
import { onShow } from "./tabs.js";

/** Device, model, self-test, first answer; again after trouble. */
async function begin() {
  $("trouble").hidden = true;
  state.busy = false;
  startWorker();
  const source = state.source;
  await work("Opening the device…", async () => {
    await open();
    await adopt(source);
    for (const { name, files } of state.added) adopted(await call("addAdapter", { name, files }));
    for (const [name, factor] of state.scales) await call("setScale", { name, factor });
  });
  if (state.model && $("trouble").hidden) await ask();
}

$("again").onclick = () => {
  if ($("again").textContent !== "Dismiss") return begin();
  $("trouble").hidden = true;
  say(ready());
  enable(true);
  return undefined;
};
onShow("device", showDevice);
begin();
