// Charts as SVG, made without markup in strings.

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

/** Probability over prices, in bars, with the median marked. */
export function distribution({ prices, price, low, high }, w) {
  const [h, base] = [190, 166];
  const label = `Probability of each price: half of it up to $${price}, 80 percent between $${low} and $${high}.`;
  const svg = frame(w, h, label);
  const most = Math.max(...prices.filter(([, p]) => p > 0.0005).map(([dollars]) => dollars), 10);
  const step = Math.max(1, round((most + 1) / 50));
  const bars = new Map();
  for (const [dollars, p] of prices) {
    if (dollars <= most) bars.set(Math.floor(dollars / step), (bars.get(Math.floor(dollars / step)) ?? 0) + p);
  }
  const count = Math.floor(most / step) + 1;
  const x = (dollars) => (dollars / (count * step)) * (w - 20) + 10;
  const peak = Math.max(...bars.values(), 1e-9);
  for (const [i, p] of bars) {
    const tall = (p / peak) * (base - 22);
    const bar = node("rect", {
      class: "mass", x: x(i * step), y: base - tall, height: Math.max(tall, 0.5), rx: 1,
      width: Math.max(((w - 20) / count) * 0.85, 1),
    });
    const to = step > 1 ? ` to $${(i + 1) * step - 1}` : "";
    bar.append(node("title", {}, `$${i * step}${to}: ${(100 * p).toFixed(1)} %`));
    svg.append(bar);
  }
  svg.append(node("line", { class: "axis", x1: 10, x2: w - 10, y1: base, y2: base }));
  const middle = x(price + 0.5);
  svg.append(node("line", { class: "mark", x1: middle, x2: middle, y1: 16, y2: base }));
  const near = Math.min(Math.max(middle, 40), w - 40);
  svg.append(node("text", { x: near, y: 11, "text-anchor": "middle" }, `median $${price}`));
  for (let tick = 0; tick <= most; tick += round(most / (w / 90))) {
    const anchor = tick === 0 ? "start" : "middle";
    if (x(tick) < w - 14) svg.append(node("text", { x: x(tick), y: h - 6, "text-anchor": anchor }, `$${tick}`));
  }
  return svg;
}

/** A line over steps; `points` are [step, value]. */
export function line(points, { title, total, width: w, unit = "", second = false, dots = false }) {
  const [h, left, base] = [150, 44, 126];
  const last = points.at(-1);
  const show = (value) => (unit === "$" ? `$${value.toFixed(0)}` : value.toFixed(2));
  const svg = frame(w, h, last ? `${title}: ${show(last[1])} at step ${last[0]}, ${show(points[0][1])} at first.` : `${title}: nothing yet.`);
  svg.append(node("text", { x: left, y: 12 }, title));
  svg.append(node("line", { class: "axis", x1: left, x2: w - 8, y1: base, y2: base }));
  if (!last) return svg;
  const top = round(Math.max(...points.map(([, value]) => value), 1e-6));
  const x = (step) => left + ((step - 1) / Math.max(total - 1, 1)) * (w - left - 14);
  const y = (value) => base - (value / top) * (base - 24);
  svg.append(node("text", { x: left - 5, y: 28, "text-anchor": "end" }, show(top)));
  svg.append(node("text", { x: left - 5, y: base + 3, "text-anchor": "end" }, unit === "$" ? "$0" : "0"));
  svg.append(node("text", { x: left, y: h - 6 }, "step 1"));
  svg.append(node("text", { x: w - 8, y: h - 6, "text-anchor": "end" }, String(total)));
  svg.append(node("polyline", { class: second ? "line second" : "line", points: points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }));
  for (const [step, value] of dots ? points : [last]) svg.append(node("circle", { cx: x(step), cy: y(value), r: 3 }));
  svg.append(node("text", { x: w - 8, y: 12, "text-anchor": "end" }, `now ${show(last[1])}`));
  return svg;
}
