// The tables of brokers and routes: those that fail first, then in the order of the configuration.
import { spark } from "./curves.js";
import { drainButton } from "./drains.js";
import { fails, reasonOf } from "./flows.js";
import { $, element, put } from "./helpers.js";
import { Table, lines } from "./tables.js";
import { byteRate, count, few, latency, matches, rate, since, span } from "./texts.js";

const MAX_NAMES = 2; // names and brokers listed in a row
const NO_BROKER = "No broker is known. A [[route]] with target names one; a resolver names them when a client asks.";
const NO_ROUTE = 'No route: every client is refused. Add a [[route]] with server_name and target, and reload (HUP).';

/** Rank of a target: what needs an operator comes first. */
const RANKS = { down: 0, ejected: 1, draining: 3 };
export const rank = (target) => RANKS[target.state] ?? (fails(target) ? 2 : 4);

/** Failed connects of a target since the start, and their causes as a text. */
export function failures({ connects = {} }) {
  const causes = ["refused", "timeout", "unreachable", "failed"].filter((cause) => connects[cause]);
  return {
    sum: causes.reduce((sum, cause) => sum + connects[cause], 0),
    text: causes.map((cause) => `${count(connects[cause])} ${cause === "failed" ? "other" : cause}`).join(", "),
  };
}

/** The state of a target: the tag, since when, and the last check with its reason. */
function stateLines(target, now) {
  const times = [];
  if (target.since != null) times.push(`for ${span(now - target.since)}`);
  if (target.checked != null) times.push(`checked ${since(now, target.checked)}`);
  const note = times.join(", ") || (target.state === "unchecked" ? "[health] is off" : "");
  return lines([target.state, `tag ${target.state}`], [note, "note"], [target.why ? reasonOf(target) : "", fails(target) ? "why bad" : "why"]);
}

const traffic = (one) => lines([`↑ ${byteRate(one.up_per_s)}`, "up"], [`↓ ${byteRate(one.down_per_s)}`, "down"]);
const volume = (one) => (one.up_per_s ?? 0) + (one.down_per_s ?? 0);

let now = 0; // of the last answer
let history = null;
let draining = new Set();

const brokerColumns = [
  { label: "Broker", kind: "row-title", sort: (one) => one.target, cell: (one) => lines([one.target, "name"], [few(one.names, MAX_NAMES), "note"]) },
  { label: "State", kind: "state", sort: rank, cell: (one) => stateLines(one, now) },
  { label: "Tunnels", kind: "number", first: "down", sort: (one) => one.connections, cell: (one) => lines([count(one.connections), "now"], [one.most == null ? "" : `most ${count(one.most)}`, "note"]) },
  { label: "New a second", kind: "number", first: "down", sort: (one) => one.new_per_s, cell: (one) => lines([rate(one.new_per_s), "now"], [one.connects.ok ? `${count(one.connects.ok)} in all` : "", "note"]) },
  { label: "Failed connects", kind: "number", first: "down", sort: (one) => failures(one).sum, cell: (one) => failedCell(failures(one), fails(one)) },
  { label: "Connect time", kind: "number", first: "down", sort: (one) => one.connect_p99_s, cell: (one) => lines([latency(one.connect_p50_s), "p50"], [one.connect_p99_s == null ? "" : `p99 ${latency(one.connect_p99_s)}`, "note"]) },
  { label: "Traffic", kind: "number", first: "down", sort: volume, cell: traffic },
  { label: "Tunnels, last hour", kind: "curve", cell: (one) => ({ node: (place) => curveCell(place, one) }) },
  { label: "Drain", kind: "action", silent: true, cell: (one) => ({ node: (place) => drainButton(place, "target", one.target, one.connections, draining) }) },
];

const routeColumns = [
  { label: "Route", kind: "row-title", sort: (one) => one.server_name, cell: (one) => lines([one.server_name, "name"], [one.listener ? `on ${one.listener}` : "", "note"]) },
  { label: "State", kind: "state", sort: (one) => (one.error ? 0 : 1), cell: (one) => routeState(one) },
  { label: "Brokers", kind: "wide", sort: (one) => one.targets.length, first: "down", cell: (one) => few(one.targets, MAX_NAMES) || "none known" },
  { label: "Tunnels", kind: "number", first: "down", sort: (one) => one.connections, cell: (one) => count(one.connections) },
  { label: "New a second", kind: "number", first: "down", sort: (one) => one.new_per_s, cell: (one) => rate(one.new_per_s) },
  { label: "Refused", kind: "number", first: "down", sort: (one) => one.refused, cell: (one) => ({ text: count(one.refused), kind: one.refused && one.error ? "bad" : "" }) },
  { label: "Traffic", kind: "number", first: "down", sort: volume, cell: traffic },
  { label: "Drain", kind: "action", silent: true, cell: (one) => ({ node: (place) => drainButton(place, "route", one.server_name, one.connections, draining) }) },
];

const failedCell = ({ sum, text }, now) => lines([count(sum), sum && now ? "sum bad" : "sum"], [text, "note"]);
const routeKey = (one) => `${one.listener ?? ""} ${one.server_name}`;

function routeState(one) {
  if (draining.has(`route ${one.server_name}`)) return lines(["draining", "tag draining"], ["gets no new connections", "note"]);
  return one.error ? lines(["failing", "tag down"], [one.error, "why bad"]) : lines(["ok", "tag up"]);
}

function curveCell(place, one) {
  const values = history?.series?.targets?.[one.target]?.tunnels;
  if (!place.firstChild) place.append(element("span"));
  place.firstChild.hidden = !values;
  if (values) spark(place.firstChild, values, history, `${one.target}, tunnels in the last hour`);
}

let brokers = null;
let routes = null;

/** Make both tables; once. */
export function prepare() {
  brokers = new Table("brokers", { columns: brokerColumns, key: (one) => one.target });
  routes = new Table("routes", { columns: routeColumns, key: routeKey });
}

/** Show brokers and routes that match the filter. */
export function showBrokers(status, kept, filter) {
  [now, history] = [status.time, kept];
  draining = new Set(status.drains.map((one) => `${one.kind} ${one.name}`));
  const targets = status.targets.filter((one) => matches(filter, one.target, one.state, one.why, ...(one.names ?? [])));
  const live = status.routes.filter((one) => matches(filter, one.server_name, one.listener, one.error, ...one.targets));
  brokers.show(byProblem(targets, rank));
  routes.show(byProblem(live, (one) => (one.error ? 0 : 1)));
  put($("brokers-empty"), status.targets.length ? "No broker matches the filter." : NO_BROKER);
  put($("routes-empty"), status.routes.length ? "No route matches the filter." : NO_ROUTE);
}

/** The items with the lowest ranks first, else in their order. */
export const byProblem = (items, rankOf) => items.map((one, index) => [rankOf(one), index, one]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((one) => one[2]);
