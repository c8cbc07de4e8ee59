// Listeners, resolvers, limits and recent refusals.
import { attributes, element, put, rows, $ } from "./helpers.js";
import { Table, lines } from "./tables.js";
import { DASH, ago, count, matches, plural, rate, words } from "./texts.js";

const NO_RESOLVER = "No resolver: the routes name their targets themselves. A [resolver.NAME] table adds one.";

let tables = {};
let time = 0;

const listenerColumns = [
  { label: "Listener", kind: "row-title", cell: (one) => lines([one.name, "name"], [one.name === one.endpoint ? "" : one.endpoint, "note"]) },
  { label: "Address", kind: "text", cell: (one) => one.address ?? DASH },
  { label: "Tunnels", kind: "number", cell: (one) => count(one.connections) },
  { label: "New a second", kind: "number", cell: (one) => rate(one.new_per_s) },
  { label: "Refused", kind: "number", cell: (one) => ({ text: count(one.refused), kind: one.refused ? "bad" : "" }) },
];

const resolverColumns = [
  { label: "Resolver", kind: "row-title", cell: (one) => lines([one.name, "name"], [one.name === one.kind ? "" : one.kind, "note"]) },
  { label: "State", kind: "state", cell: (one) => resolverState(one) },
  { label: "Queries", kind: "number", cell: (one) => lines([count(one.counts.questions), "sum"], [one.counts.failures ? `${count(one.counts.failures)} failed` : "", "note bad"]) },
  { label: "From cache", kind: "number", cell: (one) => count((one.counts.hits ?? 0) + (one.counts.shared ?? 0)) },
  { label: "Stale answers", kind: "number", cell: (one) => count(one.counts.stale) },
  { label: "Refused", kind: "number", cell: (one) => count(one.counts.refused) },
];

const refusalColumns = [
  { label: "Name", kind: "row-title", cell: (one) => one.server_name ?? "no server name" },
  { label: "Result", cell: (one) => ({ tag: "refused", text: words(one.result) }) },
  { label: "Last", cell: (one) => ago(time - one.time) },
  { label: "Count", kind: "number", first: "down", sort: (one) => one.count, cell: (one) => count(one.count) },
  { label: "Client", kind: "text", cell: (one) => one.client },
  { label: "Listener", kind: "dim", cell: (one) => one.listener },
  { label: "Reason", kind: "wide", cell: (one) => one.reason },
];

/** What keeps a resolver from answering comes first: an open circuit breaker, then an error of its last refresh. */
export function resolverState(one) {
  if (one.breaker === "open") return lines(["circuit breaker open", "tag down"], [one.error ?? "", "why bad"], [one.watch ?? "", "note"]);
  if (one.error) return lines(["failing", "tag down"], [one.error, "why bad"], [one.watch ?? "", "note"]);
  return lines(["ok", "tag up"], [one.watch ?? "", "note"]);
}

/** Make the tables; once. */
export function prepare() {
  tables = {
    listeners: new Table("listeners", { columns: listenerColumns, key: (one) => one.name }),
    resolvers: new Table("resolvers", { columns: resolverColumns, key: (one) => one.name }),
    refusals: new Table("refusals", { columns: refusalColumns, key: (one) => `${one.listener} ${one.result} ${one.server_name}`, size: 15 }),
  };
}

/** Show listeners, resolvers, limits and recent refusals. */
export function showHealth(status, filter) {
  time = status.time;
  tables.listeners.show(status.listeners);
  tables.resolvers.show(status.resolvers.filter((one) => matches(filter, one.name, one.kind, one.error)));
  tables.refusals.show(status.refusals.filter((one) => matches(filter, one.server_name, one.client, one.result, one.reason)));
  put($("resolvers-empty"), status.resolvers.length ? "No resolver matches the filter." : NO_RESOLVER);
  put($("refusals-empty"), status.refusals.length ? "No refusal matches the filter." : "No connection was refused.");
  rows($("limits"), "li", limitsOf(status), (one) => one.name, drawLimit);
}

/** The limits with how full each is: {name, used, most, note}. used: null: only its effects are known. */
export function limitsOf({ live, limits }) {
  const effects = (key) => [[limits.refused[key], "refused"], [limits.waited[key], "waits"]]
    .filter(([number]) => number).map(([number, what]) => `${count(number)} ${what}`).join(", ");
  const found = [
    { name: "Connections", used: live, most: limits.max_connections, note: effects("max_connections") },
    { name: "Connections without a tunnel", used: limits.connecting, most: limits.max_connecting, note: effects("max_connecting") },
    { name: "Connections without a ClientHello", used: null, most: limits.max_hellos, note: effects("max_hellos") },
  ].filter((one) => one.most);
  const named = new Set(["max_connections", "max_connecting", "max_hellos"]);
  const others = [...new Set([...Object.keys(limits.refused), ...Object.keys(limits.waited)])].filter((key) => !named.has(key) && effects(key));
  found.push(...others.map((key) => ({ name: words(key), used: null, most: null, note: effects(key) })));
  if (limits.loops) found.push({ name: "Loops", used: null, most: null, note: `${plural(limits.loops, "hello")} came back, denied` });
  return found;
}

function drawLimit(item, one) {
  if (!item.firstChild) item.append(element("span", "text"), element("meter"), element("span", "note"));
  const [text, meter, note] = item.children;
  const [used, most] = [one.used === null ? "" : `${count(one.used)} of `, one.most === null ? "" : `${one.used === null ? "at most " : ""}${count(one.most)}`];
  put(text, `${one.name}${most ? `: ${used}${most}` : ""}`);
  meter.hidden = one.used === null;
  attributes(meter, { max: one.most ?? 1, high: 0.8 * (one.most ?? 1), value: one.used ?? 0, "aria-label": one.name });
  note.className = one.note ? "note bad" : "note";
  put(note, one.note);
}
