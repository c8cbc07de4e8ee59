// Open connections: the proxy filters, sorts and pages over all of them, so that the page never holds more than it shows.
import { $, put } from "./helpers.js";
import { Table, lines } from "./tables.js";
import { DASH, byteRate, bytes, count, span } from "./texts.js";

const PAGE_ROWS = 25;

let table = null;
let before = null; // the last answer: {time, sums of bytes by id}
let rates = new Map(); // bytes a second by id

const columns = [
  { label: "Name", kind: "row-title", sort: "name", cell: (one) => lines([one.name ?? "no server name", "name"], [one.authority ? `authority ${one.authority}` : "", "note"]) },
  { label: "State", cell: (one) => ({ tag: one.state, text: one.state.replace("_", " ") }) },
  { label: "Target", kind: "text", sort: "target", cell: (one) => lines([one.target ?? DASH, "value"], [one.upstream_local ? `from ${one.upstream_local}` : "", "note"]) },
  { label: "Client", kind: "text", sort: "client", cell: (one) => lines([one.client, "value"], [one.peer && one.peer !== one.client ? `via ${one.peer}` : "", "note"]) },
  { label: "Listener", kind: "dim", cell: (one) => one.listener },
  { label: "Age", kind: "number", sort: "age", first: "down", cell: (one) => span(one.age_s) },
  { label: "Bytes", kind: "number", sort: "bytes", first: "down", cell: (one) => lines([`↑ ${bytes(one.bytes_up)}`, "up"], [`↓ ${bytes(one.bytes_down)}`, "down"]) },
  { label: "Traffic", kind: "number", cell: (one) => byteRate(rates.get(one.id)) },
  { label: "Id", kind: "id", cell: (one) => one.id },
];

/** Make the table; once. ask: called when another page or order is wanted. */
export function prepare(ask) {
  table = new Table("tunnels", { columns, key: (one) => one.id, size: PAGE_ROWS, ask });
}

/** The path that asks for the shown page. */
export function path(filter) {
  const query = new URLSearchParams({ limit: table.size, offset: table.page * table.size });
  if (filter) query.set("filter", filter);
  if (table.by) query.set("sort", table.by.sort);
  return `/tunnels?${query}`;
}

/** Begin again at the first page, as after a change of the filter. */
export function rewind() {
  table.page = 0;
}

/** Show an answer. live: all open connections. Returns whether it is a page that exists: else the caller asks again. */
export function showTunnels(answer, filter, time, live) {
  const sums = new Map(answer.tunnels.map((one) => [one.id, one.bytes_up + one.bytes_down]));
  rates = ratesOf(before, { time, sums });
  before = { time, sums };
  const asked = table.page;
  table.show(answer.tunnels, answer.matched);
  put($("tunnels-note"), filter ? `${count(answer.matched)} of ${count(live)} match the filter` : `${count(answer.matched)} open`);
  put(table.empty, filter ? "No open connection matches the filter." : "No client is connected. Clients dial one of the listeners below, with the name of a route as SNI.");
  return table.page === asked;
}

/** Bytes a second of the connections that both answers have. */
export function ratesOf(old, { time, sums }) {
  const seconds = old ? time - old.time : 0;
  if (seconds <= 0) return new Map();
  const both = [...sums].filter(([id]) => old.sums.has(id));
  return new Map(both.map(([id, sum]) => [id, Math.max(0, sum - old.sums.get(id)) / seconds]));
}
