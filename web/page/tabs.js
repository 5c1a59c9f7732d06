// Tabs, with the keys that people expect of them.
import { $ } from "./dom.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const opened = {};

/** Runs `act` whenever the tab is shown. */
export function onShow(name, act) {
  opened[name] = act;
}

export function show(name) {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
  opened[name]?.();
}

tabs.forEach((tab, i) => {
  tab.onclick = () => show(tab.id.slice(4));
  tab.onkeydown = ({ key }) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[key];
    if (to === undefined) return;
    const other = tabs[(to + tabs.length) % tabs.length];
    show(other.id.slice(4));
    other.focus();
  };
});
