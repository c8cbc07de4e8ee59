// The page at "/": polls /status and /topics every two seconds and shows them. External text is set only as textContent
// or as text attributes, never as HTML.
import { $, ago, bytes, clock, count, element, host, matches, parts, plural, put, rows, short, span, table } from "./helpers.js";
import { layouts } from "./layouts.js";
import { squarify } from "./treemap.js";

const PERIOD_MS = 2000;
const SAMPLES = 90; // in each sparkline: three minutes
const MOVED_S = 300; // seconds for which a moved topic is outlined
const MAX_CELLS = 40; // topics drawn in the box of a broker; one more cell has the others
const MAX_TUNNELS = 200;
const MAX_TOPICS = 500;
const MAX_WARNINGS = 20; // shown from /status

const curves = { tunnels: [], traffic: [], lookups: [] };
let last = null; // the previous answers
let latest = null;
let several = false; // whether there is more than one cluster: then names show theirs

async function ask(path) {
  const response = await fetch(path, { cache: "no-store" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function poll() {
  try {
    const [status, topics] = await Promise.all([
      ask(`/status?limit=${MAX_TUNNELS}`),
      ask(`/topics?limit=${MAX_TOPICS}`),
    ]);
    last = latest;
    latest = { status, topics, rates: rates(last, status, topics) };
    document.body.classList.remove("lost");
    remember(latest);
    show(latest);
  } catch (error) {
    document.body.classList.add("lost");
    pill("lost", "no answer");
    put($("updated"), `no answer from the proxy (${error.message}); last update: ${latest ? clock(latest.status.time) : "never"}`);
  }
  setTimeout(poll, PERIOD_MS);
}

// Rates per second, from two answers; null with only one.

function rates(before, status, topics) {
  const seconds = before ? status.time - before.status.time : 0;
  if (seconds <= 0 || before.status.started !== status.started) return { up: null, down: null, lookups: null, tunnels: new Map() };
  const per = (now, then) => Math.max(0, now - then) / seconds;
  const old = new Map(before.status.tunnels.map((tunnel) => [tunnel.id, tunnel.bytes_up + tunnel.bytes_down]));
  return {
    up: per(status.totals.bytes_up, before.status.totals.bytes_up),
    down: per(status.totals.bytes_down, before.status.totals.bytes_down),
    lookups: per(topics.lookups, before.topics.lookups),
    tunnels: new Map(status.tunnels.map((one) => [one.id, per(one.bytes_up + one.bytes_down, old.get(one.id) ?? 0)])),
  };
}

function remember({ status, rates: now }) {
  push(curves.tunnels, status.live);
  if (now.up !== null) push(curves.traffic, now.up + now.down);
  if (now.lookups !== null) push(curves.lookups, now.lookups);
}

function push(curve, value) {
  curve.push(value);
  if (curve.length > SAMPLES) curve.shift();
}

// Sections of the page.

function show({ status, topics, rates: now }) {
  document.body.classList.toggle("uninspected", !topics.inspecting);
  several = topics.clusters.length > 1;
  document.title = `${status.live} connection${status.live === 1 ? "" : "s"} · sniproxy`;
  put($("version"), status.version + (status.instance === null ? "" : `, worker ${status.instance}`));
  pill(status.state, status.state);
  put($("configuration"), `${status.configuration.file}, loaded ${ago(status.time - status.configuration.since)}`);
  rows($("listeners"), "li", status.listeners, (one) => one.name, (item, one) => {
    const where = one.address ?? one.endpoint;
    put(item, one.name === one.endpoint ? where : `${one.name} ${where}`);
    item.title = one.endpoint;
  });
  const warnings = status.warnings.slice(0, MAX_WARNINGS);
  const omitted = status.warning_count - warnings.length;
  if (omitted) warnings.push(`${plural(omitted, "more warning")}: see /status`);
  warnings.push(...status.targets.filter((one) => one.state !== "up").map((one) => `Target ${one.target} is ${one.state}: ${one.why}`));
  warnings.push(...status.drains.map((one) => `Draining ${one.kind} ${one.name}: ${one.closed} closed, ${one.left} left`));
  const lost = status.totals.access_log_lost;
  if (lost) warnings.push(`${plural(lost, "access log line")} lost: check the disk of the access log`);
  const events = status.totals.event_log_lost;
  if (events) warnings.push(`${plural(events, "event log line")} lost: check the disk of the event log`);
  if (topics.lost.length) {
    const [newest] = topics.lost;
    const connections = plural(topics.lost.length, "connection");
    warnings.push(`${connections} could not be decoded as Pulsar, last ${newest.connection} ${ago(status.time - newest.time)}: ${newest.reason}`);
  }
  rows($("warnings"), "li", warnings, (text) => text, put);
  tiles(status, topics, now);
  const filter = $("filter").value.trim().toLowerCase();
  map(topics, filter);
  layouts(topics, filter, cluster);
  tables(status, topics, now, filter);
  put($("updated"), `updated ${clock(status.time)}`);
}

function tiles(status, topics, now) {
  const { totals } = status;
  put($("tile-tunnels"), String(status.live));
  put($("note-tunnels"), `${count(totals.ended)} ended in ${span(status.time - status.started)}`);
  put($("tile-traffic"), now.up === null ? "–" : `${bytes(now.up + now.down)}/s`);
  put($("note-traffic"), `${bytes(totals.bytes_up)} up, ${bytes(totals.bytes_down)} down`);
  put($("tile-lookups"), !topics.inspecting || now.lookups === null ? "–" : now.lookups.toFixed(1));
  put($("note-lookups"), topics.inspecting ? `${count(topics.lookups)} in all, ${count(topics.failed)} failed` : "inspection is off");
  put($("tile-topics"), topics.inspecting ? count(topics.count) : "–");
  put($("note-topics"), topics.inspecting ? `on ${plural(topics.brokers.length, "broker")}${several ? ` of ${topics.clusters.length} clusters` : ""}` : "");
  put($("tile-refused"), count(totals.refused));
  const newest = status.refusals[0];
  put($("note-refused"), newest ? `last ${ago(status.time - newest.time)}` : "");
  for (const [name, curve] of Object.entries(curves)) spark($(`spark-${name}`), curve);
}

function map(topics, filter) {
  const empty = $("no-topics");
  empty.hidden = topics.brokers.length > 0;
  put(empty, topics.inspecting
    ? "No lookup has been seen yet. Clients send lookups when they connect."
    : 'Inspection is off: no listener has inspect = "pulsar".');
  const all = Math.max(1, topics.brokers.reduce((sum, broker) => sum + broker.lookups, 0));
  const most = Math.max(1, ...topics.topics.map((topic) => topic.lookups));
  const of = byBroker(topics.topics);
  rows($("map"), "article", topics.brokers, brokerKey, (box, broker) => {
    if (!box.firstChild) {
      box.className = "broker";
      const share = element("div", "share");
      share.append(element("i"));
      box.append(share, element("h3"), element("p"), element("div", "cells"));
    }
    const [share, name, note, cells] = box.children;
    share.firstChild.style.width = `${(100 * broker.lookups) / all}%`;
    put(name, host(broker.broker) + cluster(broker));
    name.title = broker.broker;
    put(note, `${plural(broker.topics, "topic")}, ${plural(broker.lookups, "lookup")} (${Math.round((100 * broker.lookups) / all)} %)`);
    drawCells(cells, broker, of.get(brokerKey(broker)) ?? [], { most, filter, now: topics.time });
  });
}

function drawCells(cells, broker, topics, { most, filter, now }) {
  const drawn = topics.slice(0, MAX_CELLS);
  const others = broker.topics - drawn.length;
  // Topics with few lookups keep a visible size.
  const least = Math.max(1, ...drawn.map((topic) => topic.lookups)) / 30;
  const items = drawn.map((topic) => ({ topic, weight: Math.max(topic.lookups, least) }));
  if (others > 0) {
    const rest = broker.lookups - drawn.reduce((sum, topic) => sum + topic.lookups, 0);
    items.push({ topic: null, weight: Math.max(Math.min(rest, items[0]?.weight ?? 1), 3 * least) });
  }
  items.sort((a, b) => b.weight - a.weight);
  const places = squarify(items.map((item) => item.weight), cells.clientWidth, cells.clientHeight);
  const placed = items.map((item, index) => ({ ...item, place: places[index] }));
  rows(cells, "div", placed, ({ topic }) => topic?.topic ?? "", (cell, { topic, place }) => {
    if (!cell.firstChild) cell.append(element("span", "name"), element("span", "detail"), element("span", "detail"));
    const [name, number, where] = cell.children;
    const size = place.width < 34 || place.height < 15 ? " tiny" : place.height < 40 || place.width < 60 ? " small" : "";
    for (const [side, property] of [["x", "left"], ["y", "top"], ["width", "width"], ["height", "height"]]) {
      cell.style[property] = `${place[side].toFixed(1)}px`;
    }
    if (!topic) {
      cell.className = `cell rest${size}`;
      put(name, `+${others}`);
      cell.title = `${plural(others, "more topic")}: see the table`;
      return;
    }
    const heat = Math.min(5, Math.floor((6 * Math.log1p(topic.lookups)) / Math.log1p(most + 1)));
    const move = topic.moves.at(-1);
    const moved = move && now - move.time < MOVED_S;
    const off = matches(filter, topic.topic) ? "" : " off";
    cell.className = `cell heat-${heat}${moved ? " moved" : ""}${off}${size}`;
    const [space, local] = parts(topic.topic);
    put(name, local);
    put(number, place.width < 90 ? count(topic.lookups) : plural(topic.lookups, "lookup"));
    put(where, place.height < 58 ? "" : space);
    cell.title = `${topic.topic}\n${plural(topic.lookups, "lookup")}, last ${ago(now - topic.last_seen)}`
      + (move ? `\nmoved ${plural(topic.moves_total, "time")}, last ${ago(now - move.time)}, from ${host(move.from_url_tls ?? move.from_url)}` : "")
      + (topic.segment?.sealed ? "\nsealed: split or merged" : topic.unsettled ? "\nunloaded by its broker; new owner unknown" : "");
  });
}

function tables(status, topics, now, filter) {
  const { time } = status;
  table("tunnels", status.tunnels.filter((one) => matches(filter, one.name, one.target, one.client, one.id)), (one) => one.id, (one) => [
    { tag: one.state, text: one.state.replace("_", " ") },
    one.name ?? "–", one.target ?? "–", one.client, { text: one.listener, kind: "dim" },
    { text: span(one.age_s), kind: "number" }, { text: bytes(one.bytes_up), kind: "number" }, { text: bytes(one.bytes_down), kind: "number" },
    { text: now.tunnels.has(one.id) ? `${bytes(now.tunnels.get(one.id))}/s` : "–", kind: "number" },
    { text: one.id, kind: "id" },
  ]);
  put($("tunnels-note"), status.live > status.tunnels.length ? `the newest ${status.tunnels.length} of ${status.live}` : "");
  table("refusals", status.refusals, (one) => `${one.listener} ${one.result} ${one.server_name}`, (one) => [
    ago(time - one.time), { tag: "refused", text: one.result }, one.server_name ?? "–", one.client,
    { text: one.listener, kind: "dim" }, { text: count(one.count), kind: "number" }, { text: one.reason, kind: "wide" },
  ]);
  table("moves", topics.moved, (one) => `${one.time} ${one.cluster} ${one.topic}`, (one) => [
    ago(time - one.time), { text: short(one.topic) + cluster(one), kind: "wide" }, host(one.from_url_tls ?? one.from_url), host(one.to_url_tls ?? one.to_url),
  ]);
  table("failures", topics.failures, (one) => `${one.time} ${one.connection} ${one.cluster} ${one.topic}`, (one) => [
    ago(time - one.time), { text: one.step, kind: "dim" }, { text: short(one.topic) + cluster(one), kind: "wide" }, { tag: "refused", text: one.error ?? "failed" }, { text: one.message ?? "", kind: "wide" },
  ]);
  table("topics", topics.topics.filter((one) => matches(filter, one.topic, one.broker, one.cluster)), (one) => `${one.cluster} ${one.topic}`, (one) => [
    { text: one.topic, kind: "wide" }, host(one.broker) + cluster(one) + notes(one), { text: count(one.lookups), kind: "number" }, { text: count(one.moves_total), kind: "number" },
    ago(time - one.last_seen),
  ]);
  put($("topics-note"), topics.count > topics.topics.length ? `the ${topics.topics.length} with the most lookups, of ${topics.count}` : "");
}

function pill(kind, text) {
  $("state").className = `pill ${kind}`;
  put($("state"), text);
}

function spark(svg, curve) {
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  if (!svg.firstChild) {
    for (const tag of ["polygon", "polyline"]) svg.append(document.createElementNS("http://www.w3.org/2000/svg", tag));
  }
  if (curve.length < 2) return;
  const top = Math.max(...curve, 1e-9);
  const points = curve.map((value, index) => `${((100 * index) / (curve.length - 1)).toFixed(1)},${(29 - (27 * value) / top).toFixed(1)}`);
  svg.children[0].setAttribute("points", `0,30 ${points.join(" ")} 100,30`);
  svg.children[1].setAttribute("points", points.join(" "));
}

function byBroker(topics) {
  const groups = new Map();
  for (const topic of topics) {
    if (!groups.has(brokerKey(topic))) groups.set(brokerKey(topic), []);
    groups.get(brokerKey(topic)).push(topic);
  }
  return groups;
}

/** What is particular about a topic, in parentheses. */
function notes(topic) {
  const leader = topic.leader_url_tls ?? topic.leader_url;
  const state = topic.segment?.sealed ? "sealed" : topic.migrated ? "migrated" : topic.unsettled ? "unloaded" : "";
  const found = [state, leader ? `leader ${host(leader)}` : ""].filter(Boolean);
  return found.length ? ` (${found.join(", ")})` : "";
}

const brokerKey = (one) => `${one.cluster} ${one.broker}`;
const cluster = (one) => (several ? ` (${one.cluster})` : "");

$("filter").addEventListener("input", () => latest && show(latest));
addEventListener("resize", () => latest && show(latest));
poll();
