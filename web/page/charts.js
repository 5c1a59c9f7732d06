// Charts as SVG, made without markup in strings.
import { dollars } from "./dom.js";

const NS = "http://www.w3.org/2000/svg";

function node(name, attributes = {}, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function frame(width, height, label) {
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  svg.append(node("title", {}, label));
  return svg;
}

/**
 * A chart as wide as its place, drawn again when that changes: letters and lines keep their size.
 */
export function fitted(kind, draw) {
  const place = document.createElement("div");
  place.className = kind;
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.round(place.clientWidth);
    if (width > 0 && width !== drawn) {
      drawn = width;
      place.replaceChildren(draw(width));
    }
  }).observe(place);
  place.append(draw(420));
  return place;
}

/** A round number not below x. */
function round(x) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(x, 1e-9)));
  return [1, 2, 2.5, 5, 10].map((n) => n * unit).find((n) => n >= x * 0.999);
}

/** The lowest price with which a distribution's probabilities reach `q`. */
function quantile(prices, q) {
  let sum = 0;
  return prices.find(([, p]) => (sum += p) >= q)?.[0] ?? prices.at(-1)?.[0] ?? 0;
}

/**
 * What the model thinks of a price, before and after fine-tuning, on one axis, and the real price:
 * `[{kind, name, answer}]`, the one in front last.
 */
export function distributions(answers, truth, w) {
  const [h, base, top] = [176, 150, 34];
  const said = answers.map(({ name, answer }) => `${name}: half of it up to $${answer.price}, 8 in 10 between $${answer.low} and $${answer.high}`);
  const svg = frame(w, h, `How likely each price is. ${said.join(". ")}.${truth === undefined ? "" : ` Real price: ${dollars(truth)}.`}`);
  const most = Math.max(10, truth ?? 0, ...answers.map(({ answer }) => quantile(answer.prices, 0.998)));
  const step = Math.max(1, Math.round(most / 48));
  const count = Math.ceil((most + 1) / step);
  const x = (price) => 6 + (price / (count * step)) * (w - 12);
  const binned = answers.map(({ answer }) => {
    const bins = new Float64Array(count);
    for (const [price, p] of answer.prices) if (price < count * step) bins[Math.floor(price / step)] += p;
    return bins;
  });
  const peak = Math.max(1e-9, ...binned.map((bins) => Math.max(...bins)));
  const y = (p) => base - (p / peak) * (base - top);
  svg.append(node("line", { class: "axis", x1: 6, x2: w - 6, y1: base, y2: base }));
  answers.forEach(({ kind }, at) => {
    const outline = [...binned[at]].flatMap((p, i) => [`${x(i * step).toFixed(1)},${y(p).toFixed(1)}`, `${x((i + 1) * step).toFixed(1)},${y(p).toFixed(1)}`]);
    svg.append(node("polygon", { class: `mass ${kind}`, points: [`${x(0)},${base}`, ...outline, `${x(count * step)},${base}`].join(" ") }));
  });
  const marks = answers.map(({ kind, name, answer }) => ({ kind, at: answer.price + 0.5, text: name }));
  if (truth !== undefined) marks.push({ kind: "truth", at: truth, text: "real price" });
  // Two rows of names, so that they do not run into each other.
  marks.sort((a, b) => a.at - b.at).forEach(({ kind, at, text }, i) => {
    const row = i % 2 === 0 ? 11 : 26;
    svg.append(node("line", { class: `mark ${kind}`, x1: x(at), x2: x(at), y1: row + 4, y2: base }));
    const wide = 3.4 * text.length + 4;
    svg.append(node("text", { class: `name ${kind}`, x: Math.min(Math.max(x(at), wide), w - wide), y: row, "text-anchor": "middle" }, text));
  });
  const gap = round(most / (w / 90));
  for (let tick = 0; tick <= most; tick += gap) {
    if (x(tick) < w - 16) svg.append(node("text", { x: x(tick), y: h - 8, "text-anchor": tick === 0 ? "start" : "middle" }, `$${tick}`));
  }
  return svg;
}

/**
 * A line over steps; `points` are `[step, value]`, step 0 being before the first. `constant`:
 * `{value, name}`, a value to compare with.
 */
export function line(points, { title, total, width: w, unit = "", second = false, dots = false, constant }) {
  const [h, left, base] = [150, 48, 126];
  const last = points.at(-1);
  const show = (value) => (unit === "$" ? `$${value.toFixed(0)}` : value.toFixed(2));
  const compared = constant ? ` ${constant.name}: ${show(constant.value)}.` : "";
  const svg = frame(w, h, last ? `${title}: ${show(last[1])} at step ${last[0]}, ${show(points[0][1])} at first.${compared}` : `${title}: nothing yet.`);
  svg.append(node("text", { x: left, y: 12 }, title));
  svg.append(node("line", { class: "axis", x1: left, x2: w - 8, y1: base, y2: base }));
  if (!last) return svg;
  const top = round(Math.max(constant?.value ?? 0, ...points.map(([, value]) => value), 1e-6));
  const first = Math.min(1, points[0][0]);
  const x = (step) => left + ((step - first) / Math.max(total - first, 1)) * (w - left - 14);
  // On a phone the title and what stands at its right need a line each.
  const now = `now ${show(last[1])}`;
  const lower = left + 7 * (title.length + now.length + 2) > w ? 15 : 0;
  const y = (value) => base - (value / top) * (base - 24 - lower);
  svg.append(node("text", { x: left - 5, y: 28 + lower, "text-anchor": "end" }, show(top)));
  svg.append(node("text", { x: left - 5, y: base + 3, "text-anchor": "end" }, unit === "$" ? "$0" : "0"));
  svg.append(node("text", { x: left, y: h - 6 }, first === 0 ? "before" : "step 1"));
  svg.append(node("text", { x: w - 8, y: h - 6, "text-anchor": "end" }, `step ${total}`));
  if (constant) svg.append(node("line", { class: "mark", x1: left, x2: w - 8, y1: y(constant.value), y2: y(constant.value) }));
  svg.append(node("polyline", { class: second ? "line second" : "line", points: points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }));
  for (const [step, value] of dots ? points : [last]) svg.append(node("circle", { class: second ? "second" : "", cx: x(step), cy: y(value), r: 3 }));
  // Over the line, which it may cross.
  if (constant) svg.append(node("text", { class: "name", x: w - 8, y: y(constant.value) - 4, "text-anchor": "end" }, `${constant.name}: ${show(constant.value)}`));
  svg.append(node("text", { x: w - 8, y: 12 + lower, "text-anchor": "end" }, now));
  return svg;
}
