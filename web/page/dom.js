// Elements, and numbers as people read them.

export const $ = (id) => document.getElementById(id);

/** An element with attributes (properties where they are no text) and children. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && typeof value !== "string") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** A button that does something. */
export function button(text, label, onclick) {
  const made = make("button", { type: "button", "aria-label": label }, text);
  made.onclick = onclick;
  return made;
}

export const seconds = (s) => (s < 10 ? `${s.toFixed(2)} s` : `${s.toFixed(0)} s`);
export const size = (n) => (n > 1e9 ? `${(n / 1e9).toFixed(2)} GB` : `${(n / 1e6).toFixed(1)} MB`);
export const dollars = (n) => `$${Number.isInteger(n) || n >= 100 ? n.toFixed(0) : n.toFixed(2)}`;

/** "3 s", "2 min 5 s". */
export const duration = (s) => (s < 90 ? `${Math.round(s)} s` : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`);

/** A note of the library as a sentence of its own. */
export const sentenceOf = (note) => `${note[0].toUpperCase()}${note.slice(1)}${note.endsWith(".") ? "" : "."}`;
