// The head of the page: state, warnings and tiles; and what has changed between two answers.
import { spark } from "./curves.js";
import { failureOf, fails } from "./flows.js";
import { $, put, rows } from "./helpers.js";
import { ago, byteRate, bytes, count, few, plural, rate, span, words } from "./texts.js";

const MAX_WARNINGS = 20;

/** Show the head. latest: the latest answers. */
export function summary({ status, history, topics }) {
  document.title = `${plural(status.live, "connection")} · sniproxy`;
  put($("version"), status.version + (status.instance === null ? "" : `, worker ${status.instance}`));
  $("state").className = `pill ${status.state}`;
  put($("state"), status.state);
  const loaded = `${status.configuration.file}, loaded ${ago(status.time - status.configuration.since)}`;
  put($("configuration"), [loaded, ...status.old_processes.map(textOfOld)].join(" · "));
  rows($("warnings"), "li", warningsOf(status, topics), (text) => text, put);
  tiles(status, history);
  notes(status);
}

const textOfOld = (old) => `old process ${old.pid}: ${plural(old.tunnels, "tunnel")} left`;

/** What an operator should know before anything else, a sentence each. */
export function warningsOf(status, topics) {
  const found = status.warnings.slice(0, MAX_WARNINGS);
  const omitted = status.warning_count - found.length;
  if (omitted) found.push(`${plural(omitted, "more warning")}: see /status`);
  for (const [lost, name] of [[status.totals.access_log_lost, "access"], [status.totals.event_log_lost, "event"]]) {
    if (lost) found.push(`${plural(lost, `${name} log line`)} lost: check the disk of the ${name} log`);
  }
  if (topics?.lost.length) {
    const [newest] = topics.lost;
    const connections = plural(topics.lost.length, "connection");
    found.push(`${connections} could not be decoded as Pulsar, last ${newest.connection} ${ago(status.time - newest.time)}: ${newest.reason}`);
  }
  return found;
}

function tiles(status, history) {
  const { totals, targets } = status;
  const failing = targets.filter(fails);
  $("tile-brokers-box").classList.toggle("bad", failing.length > 0);
  put($("tile-brokers"), failing.length ? `${count(failing.length)} of ${count(status.target_count)}` : count(status.target_count));
  put($("title-brokers"), failing.length ? "Brokers failing" : "Brokers");
  put($("note-brokers"), failing.length ? `✕ ${few(failing.map((one) => `${one.target}: ${failureOf(one)}`), 2)}` : noteOf(targets));
  put($("tile-tunnels"), count(status.live));
  const sums = (key) => status.listeners.reduce((sum, one) => sum + (one[key] ?? 0), 0);
  put($("tile-new"), rate(sums("new_per_s")));
  put($("note-new"), `${count(totals.ended)} ended in ${span(status.time - status.started)}`);
  put($("note-traffic"), `${bytes(totals.bytes_up)} up, ${bytes(totals.bytes_down)} down`);
  const newest = status.refusals[0];
  put($("note-refused"), newest ? `last ${ago(status.time - newest.time)}: ${words(newest.result)}` : `${count(totals.refused)} in all`);
  if (history) curves(status, history);
}

function noteOf(targets) {
  const unchecked = targets.filter((one) => one.state === "unchecked").length;
  const draining = targets.filter((one) => one.state === "draining").length;
  const up = targets.length - unchecked - draining;
  return [[up, "up"], [unchecked, "unchecked"], [draining, "draining"]].filter(([number]) => number).map(([number, what]) => `${count(number)} ${what}`).join(", ");
}

function curves(status, history) {
  const { tunnels, new: opened, up, down, refused } = history.series;
  const traffic = up.map((value, index) => (value + down[index]) / history.step_s);
  const all = Object.values(refused);
  const refusals = tunnels.map((_, index) => all.reduce((sum, values) => sum + (values[index] ?? 0), 0));
  put($("note-tunnels"), `most ${count(Math.max(status.live, ...tunnels))} in the last hour`);
  put($("tile-traffic"), byteRate(traffic.at(-1) ?? null)); // of the last step
  put($("tile-refused"), count(refusals.reduce((sum, value) => sum + value, 0)));
  const series = { tunnels, new: opened, traffic, refused: refusals };
  for (const [name, values] of Object.entries(series)) spark($(`spark-${name}`), values, history, `${name}, last hour`);
}

function notes(status) {
  const listed = (shown, all, what) => (all > shown ? `the first ${count(shown)} of ${count(all)}` : plural(all, what));
  put($("brokers-note"), listed(status.targets.length, status.target_count, "broker"));
  put($("routes-note"), listed(status.routes.length, status.route_count, "route"));
}

/** What became better or worse between two answers, for a screen reader. */
export function transitions(before, status) {
  const old = new Map(before.targets.map((one) => [one.target, one]));
  const changed = status.targets.filter((one) => old.has(one.target) && fails(one) !== fails(old.get(one.target)));
  const found = changed.map((one) => `${one.target}: ${failureOf(one) || (one.state === "draining" ? "draining" : "works again")}`);
  if (before.state !== status.state) found.push(`the proxy is ${status.state}`);
  return found.length ? [few(found, 5)] : [];
}
