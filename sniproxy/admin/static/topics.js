// Topics of inspected listeners: the map by broker, moves, failed lookups and the list.
import { $, element, put, rows } from "./helpers.js";
import { layouts } from "./layouts.js";
import { Table, lines } from "./tables.js";
import { ago, count, host, matches, parts, plural, short } from "./texts.js";
import { squarify } from "./treemap.js";

const MOVED_S = 300; // seconds for which a moved topic is outlined
const MAX_CELLS = 40; // topics drawn in the box of a broker; one more cell has the others

let several = false; // whether there is more than one cluster: then names show theirs
let time = 0;
let tables = {};

const brokerKey = (one) => `${one.cluster} ${one.broker}`;
const cluster = (one) => (several ? ` (${one.cluster})` : "");

const columns = {
  moves: [
    { label: "Topic", kind: "row-title", cell: (one) => short(one.topic) + cluster(one) },
    { label: "When", cell: (one) => ago(time - one.time) },
    { label: "From", kind: "text", cell: (one) => host(one.from_url_tls ?? one.from_url) },
    { label: "To", kind: "text", cell: (one) => host(one.to_url_tls ?? one.to_url) },
  ],
  failures: [
    { label: "Topic", kind: "row-title", cell: (one) => short(one.topic) + cluster(one) },
    { label: "When", cell: (one) => ago(time - one.time) },
    { label: "Step", kind: "dim", cell: (one) => one.step.replace("_", " ") },
    { label: "Error", cell: (one) => ({ tag: "refused", text: one.error ?? "failed" }) },
    { label: "Message", kind: "wide", cell: (one) => one.message ?? "" },
  ],
  topics: [
    { label: "Topic", kind: "row-title", sort: (one) => one.topic, cell: (one) => one.topic },
    { label: "Broker", kind: "text", sort: (one) => one.broker, cell: (one) => lines([host(one.broker) + cluster(one), "value"], [notes(one), "note"]) },
    { label: "Producers", kind: "number", first: "down", sort: (one) => one.producers, cell: (one) => count(one.producers) },
    { label: "Consumers", kind: "number", first: "down", sort: (one) => one.consumers, cell: (one) => count(one.consumers) },
    { label: "Lookups", kind: "number", first: "down", sort: (one) => one.lookups, cell: (one) => count(one.lookups) },
    { label: "Moves", kind: "number", first: "down", sort: (one) => one.moves_total, cell: (one) => count(one.moves_total) },
    { label: "Last seen", cell: (one) => ago(time - one.last_seen) },
  ],
};

/** Make the tables; once. */
export function prepare() {
  tables = {
    moves: new Table("moves", { columns: columns.moves, key: (one) => `${one.time} ${one.cluster} ${one.topic}`, size: 10 }),
    failures: new Table("failures", { columns: columns.failures, key: (one) => `${one.time} ${one.connection} ${one.cluster} ${one.topic}`, size: 10 }),
    topics: new Table("topics", { columns: columns.topics, key: (one) => `${one.cluster} ${one.topic}` }),
  };
}

/** Show an answer; nothing where nothing is inspected. */
export function showTopics(topics, filter) {
  document.body.classList.toggle("uninspected", !topics.inspecting);
  if (!topics.inspecting) return;
  time = topics.time;
  several = topics.clusters.length > 1;
  put($("map-note"), `${plural(topics.count, "topic")}, ${plural(topics.lookups, "lookup")}, ${count(topics.failed)} failed`);
  map(topics, filter);
  layouts(topics, filter, cluster);
  tables.moves.show(topics.moved.filter((one) => matches(filter, one.topic, one.cluster)));
  tables.failures.show(topics.failures.filter((one) => matches(filter, one.topic, one.error, one.message)));
  tables.topics.show(topics.topics.filter((one) => matches(filter, one.topic, one.broker, one.cluster)));
  put($("topics-note"), topics.count > topics.topics.length ? `the ${topics.topics.length} with the most lookups, of ${count(topics.count)}` : "");
}

/** How busy a topic is: its open producers and consumers, as far as the inspector has seen them. */
export const users = (topic) => (topic.producers ?? 0) + (topic.consumers ?? 0);

/** The class of a colour, 0 to 5: 0 for no users, and 5 for the most. */
export const heatOf = (number, most) => (number ? Math.max(1, Math.min(5, Math.floor((6 * Math.log1p(number)) / Math.log1p(most + 1)))) : 0);

function map(topics, filter) {
  $("no-topics").hidden = topics.brokers.length > 0;
  const all = Math.max(1, topics.brokers.reduce((sum, broker) => sum + broker.lookups, 0));
  const most = Math.max(1, ...topics.topics.map(users));
  const of = Map.groupBy ? Map.groupBy(topics.topics, brokerKey) : grouped(topics.topics);
  rows($("map"), "article", topics.brokers, brokerKey, (box, broker) => {
    if (!box.firstChild) {
      box.className = "broker";
      box.append(element("h3"), element("p"), element("div", "cells"));
    }
    const [name, note, cells] = box.children;
    put(name, host(broker.broker) + cluster(broker));
    name.title = broker.broker;
    put(note, `${plural(broker.topics, "topic")}, ${plural(broker.lookups, "lookup")} (${Math.round((100 * broker.lookups) / all)} %)`);
    drawCells(cells, broker, of.get(brokerKey(broker)) ?? [], { most, filter });
  });
}

function grouped(topics) {
  const groups = new Map();
  for (const topic of topics) groups.set(brokerKey(topic), [...(groups.get(brokerKey(topic)) ?? []), topic]);
  return groups;
}

function drawCells(cells, broker, topics, { most, filter }) {
  const shown = topics.slice(0, MAX_CELLS);
  const others = broker.topics - shown.length;
  // Topics with few lookups keep a visible size.
  const least = Math.max(1, ...shown.map((topic) => topic.lookups)) / 30;
  const items = shown.map((topic) => ({ topic, weight: Math.max(topic.lookups, least) }));
  if (others > 0) {
    const rest = broker.lookups - shown.reduce((sum, topic) => sum + topic.lookups, 0);
    items.push({ topic: null, weight: Math.max(Math.min(rest, items[0]?.weight ?? 1), 3 * least) });
  }
  items.sort((a, b) => b.weight - a.weight);
  const places = squarify(items.map((item) => item.weight), cells.clientWidth, cells.clientHeight);
  const placed = items.map((item, index) => ({ ...item, place: places[index] }));
  rows(cells, "div", placed, ({ topic }) => topic?.topic ?? "", (cell, { topic, place }) => {
    if (!cell.firstChild) cell.append(element("span", "name"), element("span", "detail"), element("span", "detail"));
    const size = place.width < 34 || place.height < 15 ? " tiny" : place.height < 40 || place.width < 60 ? " small" : "";
    for (const [side, property] of [["x", "left"], ["y", "top"], ["width", "width"], ["height", "height"]]) {
      cell.style[property] = `${place[side].toFixed(1)}px`;
    }
    if (topic) drawTopic(cell, topic, { place, size, most, filter });
    else drawOthers(cell, others, size);
  });
}

function drawOthers(cell, others, size) {
  cell.className = `cell rest${size}`;
  put(cell.firstChild, `+${others}`);
  cell.title = `${plural(others, "more topic")}: see the table`;
}

function drawTopic(cell, topic, { place, size, most, filter }) {
  const [name, number, where] = cell.children;
  const move = topic.moves.at(-1);
  const moved = move && time - move.time < MOVED_S;
  cell.className = `cell heat-${heatOf(users(topic), most)}${moved ? " moved" : ""}${matches(filter, topic.topic) ? "" : " off"}${size}`;
  const [space, local] = parts(topic.topic);
  const used = `${plural(topic.producers ?? 0, "producer")}, ${plural(topic.consumers ?? 0, "consumer")}`;
  put(name, local);
  put(number, !users(topic) ? "" : place.width < 150 ? `${count(topic.producers)} → ${count(topic.consumers)}` : used);
  put(where, place.height < 58 ? "" : space);
  cell.title = `${topic.topic}\n${used}\n${plural(topic.lookups, "lookup")}, last ${ago(time - topic.last_seen)}`
    + (move ? `\nmoved ${plural(topic.moves_total, "time")}, last ${ago(time - move.time)}, from ${host(move.from_url_tls ?? move.from_url)}` : "")
    + (topic.segment?.sealed ? "\nsealed: split or merged" : topic.unsettled ? "\nunloaded by its broker; new owner unknown" : "");
}

/** What is particular about a topic. */
function notes(topic) {
  const leader = topic.leader_url_tls ?? topic.leader_url;
  const state = topic.segment?.sealed ? "sealed" : topic.migrated ? "migrated" : topic.unsettled ? "unloaded" : "";
  return [state, leader ? `leader ${host(leader)}` : ""].filter(Boolean).join(", ");
}
