// Curves of the last hour: small ones in tiles and rows, and the bars of refusals by cause.
import { attributes, drawn, element, put, rows } from "./helpers.js";
import { HOUR_S, bins, causesOf } from "./history.js";
import { clock, count, words } from "./texts.js";

const MAX_CAUSES = 6;
const BAR_S = 60;
const MIN_CURVE_S = 600; // seconds that a curve has at least: then one of a minute is a tenth of its width

/**
 * Points "x,y" of a curve in a box of 100 by 30, where the steps fill the width; a shorter curve ends at the right. values:
 * null where nothing is known.
 */
export function points(values, steps) {
  const offset = steps - values.length;
  const top = Math.max(1e-9, ...values);
  return values
    .map((value, index) => (value === null ? null : `${((100 * (offset + index)) / Math.max(1, steps - 1)).toFixed(1)},${(29 - (27 * value) / top).toFixed(1)}`))
    .filter((point) => point !== null);
}

/** Draw a curve into a holder. history: has the length of a step. label: what it shows, for a screen reader. */
export function spark(holder, values, history, label) {
  if (!holder.firstChild) {
    const svg = drawn("svg");
    attributes(svg, { viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img" });
    svg.append(drawn("polygon"), drawn("polyline"));
    holder.className = "spark";
    holder.append(svg);
  }
  const svg = holder.firstChild;
  attributes(svg, { "aria-label": label });
  const curve = points(values, Math.max(values.length, MIN_CURVE_S / history.step_s));
  const from = curve.length ? curve[0].split(",")[0] : 0;
  attributes(svg.children[0], { points: curve.length ? `${from},30 ${curve.join(" ")} 100,30` : "" });
  attributes(svg.children[1], { points: curve.join(" ") });
}

/** The bars of refusals: {end, parts: [{cause, height, from}]} each, heights in parts of the highest bar. */
export function barsOf(causes, history) {
  const size = Math.max(1, Math.round(BAR_S / history.step_s));
  const series = causes.map((one) => ({ cause: one.cause, values: bins(one.values, size) }));
  const length = Math.max(0, ...series.map((one) => one.values.length));
  const bars = [];
  for (let index = 0; index < length; index += 1) {
    let from = 0;
    const parts = series.map(({ cause, values }) => {
      const part = { cause, from, value: values[index] ?? 0 };
      from += part.value;
      return part;
    });
    bars.push({ end: history.end - (length - 1 - index) * BAR_S, parts: parts.filter((one) => one.value), sum: from });
  }
  return bars;
}

/** Draw refusals over time: bars of a minute, a colour for each cause, and a legend with the sums. */
export function refusalChart(box, history) {
  const causes = causesOf(history.series.refused, MAX_CAUSES);
  const bars = barsOf(causes, history);
  const top = Math.max(1, ...bars.map((bar) => bar.sum));
  if (!box.firstChild) box.append(figureOf(), element("ul", "causes"));
  const [figure, legend] = box.children;
  const [scale, chart] = figure.children;
  put(scale, `${count(top)} a minute`);
  const sum = causes.reduce((all, one) => all + one.sum, 0);
  box.hidden = sum === 0;
  attributes(chart, { "aria-label": `Refused in the last hour: ${count(sum)}, at most ${count(top)} a minute` });
  const colours = new Map(causes.map((one, index) => [one.cause, `cause-${one.cause === "other" ? "other" : index}`]));
  const slots = HOUR_S / BAR_S;
  rows(chart, () => drawn("g"), bars.filter((bar) => bar.sum), (bar) => bar.end, (group, bar) => {
    const place = slots - 1 - Math.round((history.end - bar.end) / BAR_S);
    if (!group.firstChild) group.append(drawn("title"));
    put(group.firstChild, `${clock(bar.end)}\n${bar.parts.map((part) => `${words(part.cause)}: ${count(part.value)}`).join("\n")}`);
    drawParts(group, bar, { place, top, colours });
  });
  rows(legend, "li", causes, (one) => one.cause, (item, one) => {
    if (!item.firstChild) item.append(element("i"), element("span"));
    item.firstChild.className = colours.get(one.cause);
    put(item.lastChild, `${words(one.cause)} ${count(one.sum)}`);
  });
}

function drawParts(group, bar, { place, top, colours }) {
  while (group.children.length > bar.parts.length + 1) group.lastElementChild.remove();
  bar.parts.forEach((part, index) => {
    const rect = group.children[index + 1] ?? group.appendChild(drawn("rect"));
    const height = (100 * part.value) / top;
    attributes(rect, {
      x: place + 0.1, width: 0.8, y: (100 - (100 * part.from) / top - height).toFixed(2), height: height.toFixed(2), class: colours.get(part.cause),
    });
  });
}

function figureOf() {
  const figure = element("div", "bars");
  const chart = drawn("svg");
  attributes(chart, { viewBox: `0 0 ${HOUR_S / BAR_S} 100`, preserveAspectRatio: "none", role: "img" });
  const axis = element("p", "axis");
  axis.append(element("span", "", "1 h ago"), element("span", "", "30 min"), element("span", "", "now"));
  figure.append(element("p", "scale"), chart, axis);
  return figure;
}
