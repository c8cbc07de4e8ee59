// The page at "/": asks the proxy every two seconds while it is visible, and shows the answers.
import * as brokers from "./brokers.js";
import * as drains from "./drains.js";
import * as health from "./health.js";
import * as topics from "./topics.js";
import * as tunnels from "./tunnels.js";
import { refusalChart } from "./curves.js";
import { $, announce, put } from "./helpers.js";
import { extended } from "./history.js";
import { picture } from "./picture.js";
import { summary, transitions } from "./summary.js";
import { clock } from "./texts.js";

const PERIOD_MS = 2000;
const TIMEOUT_MS = 10_000; // of a request
const MAX_LISTED = 1000; // brokers, routes and refusals asked for
const MAX_TOPICS = 500;
const HISTORY_EVERY_S = 10; // its step
const FLOWS_EVERY_S = 4;
const INSPECTING_EVERY_S = 30; // how often a page without topics asks whether a listener is inspected by now

const latest = { status: null, tunnels: null, history: null, flows: null, topics: null };
let times = {}; // by path: when it was asked last, by the proxy's clock
let timer = null;
let asking = false;
let again = false; // another page, order or filter is wanted than the one that is being asked for

async function ask(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

const filterText = () => $("filter").value.trim().toLowerCase();

/** Ask everything that is due, then again after a period. A hidden page asks nothing. */
async function poll() {
  clearTimeout(timer);
  again = asking && !document.hidden;
  if (asking || document.hidden) return;
  asking = true;
  try {
    const before = latest.status;
    const filter = filterText();
    const [status, page] = await Promise.all([ask(`/status?limit=${MAX_LISTED}&tunnels=0`), ask(tunnels.path(filter))]);
    if (before && before.started !== status.started) times = {}; // the proxy was restarted
    Object.assign(latest, { status, tunnels: page, filter });
    await Promise.all([askHistory(status.time), askFlows(status.time), askTopics(status.time)]);
    document.body.classList.remove("lost");
    if (before) transitions(before, status).forEach(announce);
    show();
    if (!tunnels.showTunnels(page, filter, status.time, status.live)) again = true;
  } catch (error) {
    lost(error);
  }
  asking = false;
  timer = setTimeout(poll, again ? 0 : PERIOD_MS);
}

const due = (name, now, seconds) => {
  if (times[name] !== undefined && now - times[name] < seconds) return false;
  times[name] = now;
  return true;
};

async function askHistory(now) {
  const first = times.history === undefined;
  if (!due("history", now, HISTORY_EVERY_S)) return;
  const newer = first ? null : await ask("/history?seconds=60");
  latest.history = (newer && extended(latest.history, newer)) ?? (await ask("/history?seconds=3600"));
}

async function askFlows(now) {
  if (due("flows", now, FLOWS_EVERY_S)) latest.flows = await ask("/flows");
}

async function askTopics(now) {
  if (latest.topics?.inspecting || due("topics", now, INSPECTING_EVERY_S)) latest.topics = await ask(`/topics?limit=${MAX_TOPICS}`);
}

function lost(error) {
  document.body.classList.add("lost");
  $("state").className = "pill lost";
  put($("state"), "no answer");
  put($("updated"), `no answer from the proxy (${error.message}); last update: ${latest.status ? clock(latest.status.time) : "never"}`);
}

/** Show the latest answers. */
function show() {
  const { status, history, flows } = latest;
  const filter = filterText();
  if (!status) return;
  summary(latest);
  drains.showDrains(status);
  brokers.showBrokers(status, history, filter);
  if (flows) picture(status, flows);
  if (history) refusalChart($("refusal-chart"), history);
  health.showHealth(status, filter);
  topics.showTopics(latest.topics, filter);
  put($("updated"), `updated ${clock(status.time)}`);
}

/** Show the pages that have the filter, and ask the proxy for the connections that match it. */
function filtered() {
  tunnels.rewind();
  show();
  clearTimeout(timer);
  timer = setTimeout(poll, 250);
}

/** The key "/" goes to the filter, unless a text is being written. */
function keyed(event) {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, dialog")) return;
  event.preventDefault();
  $("filter").focus();
}

tunnels.prepare(poll);
brokers.prepare();
health.prepare();
topics.prepare();
drains.prepare(poll);
$("filter").addEventListener("input", filtered);
addEventListener("keydown", keyed);
addEventListener("resize", show);
document.addEventListener("visibilitychange", poll);
poll();
