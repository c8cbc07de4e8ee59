// The picture: clients -> listeners, if there are several -> routes -> brokers, as wide as their tunnels, red where something fails.
import { $, attributes, drawn, put, rows } from "./helpers.js";
import { OTHERS, graphOf, placed } from "./flows.js";
import { byteRate, count, cut, plural } from "./texts.js";

const NARROW = 720; // pixels: below, the labels are between the bars
const MOST_WIDE = 10;
const MOST_NARROW = 6;
const BAR = 8;
const CHARACTER = 6.7; // pixels of a character, about

/** Draw a state; nothing without a route. */
export function picture(status, flows) {
  const box = $("picture");
  $("picture-section").hidden = status.routes.length === 0;
  const { paddingLeft, paddingRight } = getComputedStyle(box);
  const width = box.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  if (width <= 0) return;
  const narrow = width < NARROW;
  const graph = graphOf(status, flows, narrow ? MOST_NARROW : MOST_WIDE);
  const { height, nodes, links } = placed(graph);
  const { kinds } = graph;
  const { bars, room, inner } = columnsOf(width, kinds.length, narrow);
  const svg = box.firstElementChild ?? box.appendChild(shell());
  attributes(svg, { viewBox: `0 0 ${width} ${Math.ceil(height)}`, width, height: Math.ceil(height), "aria-label": summary(graph) });
  const flat = links.flatMap((list, side) => list.map((one) => ({ ...one, x0: bars[side] + BAR, x1: bars[side + 1], side })));
  rows(svg.children[0], () => drawn("path"), flat, (one) => `${one.side} ${one.from} > ${one.to}`, drawLink);
  const placedNodes = nodes.flatMap((list, side) => list.map((one) => ({ ...one, side, x: bars[side] })));
  rows(svg.children[1], nodeOf, placedNodes, (one) => `${one.side} ${one.id}`, (group, one) => drawNode(group, one, { narrow, room, inner, kinds }));
  put($("picture-title"), `${kinds.map((one) => `${one}s`).join(" → ").replace("c", "C")}`);
  put($("picture-note"), nodes.slice(-2).some((list) => list.some((one) => one.id === OTHERS))
    ? "The busiest, and those that fail; the tables below have all." : nodes[0].length ? "" : "No client is connected: this is where the routes lead.");
}

/**
 * Where columns are: the x of each one's bars, the pixels for the labels of the outer ones, and for those between.
 * count: of the columns, 3 or 4.
 */
export function columnsOf(width, count, narrow) {
  if (narrow && count === 3) return { bars: [0, Math.round(0.33 * width), width - BAR], room: 0.27 * width, inner: 0.27 * width };
  if (narrow) return { bars: [0, Math.round(0.25 * width), Math.round(0.51 * width), width - BAR], room: 0.2 * width, inner: 0.2 * width };
  if (count === 3) return { bars: [200, Math.round((width - BAR) / 2) - 60, width - 230], room: 185, inner: 1.3 * 185 };
  const step = (width - 430) / 3;
  return { bars: [200, Math.round(200 + step), Math.round(200 + 2 * step), width - 230], room: 185, inner: step - BAR - 14 };
}

/** The picture in a sentence: the tables have the same numbers. */
export function summary({ kinds, columns }) {
  const number = (nodes) => nodes.reduce((sum, one) => sum + (one.fold ?? 1), 0);
  const failing = columns.slice(1).flat().filter((one) => one.bad).map((one) => `${one.id ?? "others"} ${one.bad}`);
  const flow = columns.map((nodes, side) => plural(number(nodes), kinds[side])).join(" to ");
  return `${flow}. ${failing.length ? `Failing: ${failing.join("; ")}` : "Nothing fails"}.`;
}

function shell() {
  const svg = drawn("svg");
  attributes(svg, { role: "img" });
  svg.append(drawn("g"), drawn("g"));
  return svg;
}

function nodeOf() {
  const group = drawn("g");
  group.append(drawn("title"), drawn("rect"), drawn("rect"), drawn("text"), drawn("text"));
  return group;
}

function drawLink(path, { x0, y0, x1, y1, width, bad, value }) {
  const bend = (x0 + x1) / 2;
  attributes(path, {
    d: `M${x0} ${y0.toFixed(1)}C${bend} ${y0.toFixed(1)} ${bend} ${y1.toFixed(1)} ${x1} ${y1.toFixed(1)}`,
    "stroke-width": width.toFixed(1), class: `link${bad ? " bad" : value ? "" : " idle"}`,
  });
}

function drawNode(group, one, { narrow, room, inner, kinds }) {
  const [title, rect, plate, name, note] = group.children;
  const label = one.id !== OTHERS ? one.id : narrow ? `${count(one.fold)} others` : `${count(one.fold)} other ${kinds[one.side]}s`;
  const numbers = [count(one.value), one.rate == null ? "" : byteRate(one.rate)].filter(Boolean).join(" · ");
  const between = one.side > 0 && one.side < kinds.length - 1;
  const outside = !narrow && !between;
  const leftOf = narrow ? one.side === kinds.length - 1 : one.side === 0;
  const x = leftOf ? one.x - 7 : one.x + BAR + 7;
  const [anchor, y] = [leftOf ? "end" : "start", one.y + one.height / 2];
  const most = Math.floor((between ? inner : room) / CHARACTER);
  put(title, `${label}: ${plural(one.value, "tunnel")}${one.rate == null ? "" : `, ${byteRate(one.rate)}`}${one.bad ? `\n${one.bad}` : ""}`);
  attributes(group, { class: `node${one.bad ? " bad" : ""}` });
  attributes(rect, { x: one.x, y: one.y.toFixed(1), width: BAR, height: one.height.toFixed(1), rx: 2 });
  attributes(name, { x, y: (y - 2).toFixed(1), "text-anchor": anchor, class: "name" });
  attributes(note, { x, y: (y + 12).toFixed(1), "text-anchor": anchor, class: "note" });
  put(name, cut(label, most));
  put(note, one.bad ? cut(`✕ ${one.bad}`, most + (narrow ? 1 : 2)) : numbers);
  const wide = outside ? 0 : Math.max(name.textContent.length * CHARACTER * 1.17, note.textContent.length * CHARACTER * 0.92) + 8;
  attributes(plate, { class: "plate", x: leftOf ? x - wide + 4 : x - 4, y: (y - 15).toFixed(1), width: wide.toFixed(0), height: 31, rx: 4 });
}
