// Tabs, with the keys that people expect of them; the one that is shown stands in the address.
import { $ } from "./dom.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const names = tabs.map(({ id }) => id.slice(4));
const opened = {};

/** Runs `act` whenever the tab is shown. */
export function onShow(name, act) {
  opened[name] = act;
}

function reveal(name) {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
  opened[name]?.();
}

export function show(name) {
  if (tabOf(location.hash) !== name) history.pushState(null, "", `#${name}`);
  reveal(name);
}

/** The tab that an address names, `#train` or `#price?title=…`; the first without one. */
function tabOf(hash) {
  const name = hash.slice(1).split("?")[0];
  return names.includes(name) ? name : names[0];
}

/** The product in an address that was shared; null without one. */
export function sharedProduct() {
  const fields = new URLSearchParams(location.hash.split("?")[1] ?? "");
  return fields.get("title") ? Object.fromEntries(fields) : null;
}

/** An address that shows this product: behind the #, which no server is told. */
export function addressOfProduct(product) {
  const fields = Object.entries(product).filter(([, text]) => text);
  return new URL(`#price?${new URLSearchParams(fields)}`, location.href).href;
}

tabs.forEach((tab, i) => {
  tab.onclick = () => show(names[i]);
  tab.onkeydown = ({ key }) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[key];
    if (to === undefined) return;
    const other = tabs[(to + tabs.length) % tabs.length];
    show(other.id.slice(4));
    other.focus();
  };
});
window.addEventListener("popstate", () => reveal(tabOf(location.hash)));

/** Shows the tab of the address, once all that it needs is there. */
export const showAddress = () => reveal(tabOf(location.hash));

// Ctrl+Enter (on a Mac ⌘) sends the form that is being filled in.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  const form = event.target.closest?.("form");
  if (!form || form.querySelector("[type=submit]").disabled) return;
  event.preventDefault();
  form.requestSubmit();
});
