// The last hour, as /history has it: steps of some seconds, the newest last. Pure: no document, no clock.

export const HOUR_S = 3600;

/**
 * A history with the steps that a newer answer adds, so that the page need not ask for the whole hour again. Without an
 * overlap, as after a restart or a long pause, the newer answer alone: then the caller asks for the hour. null: it must.
 */
export function extended(kept, newer) {
  if (!kept?.end || !newer.end || kept.step_s !== newer.step_s) return null;
  const length = newer.series.tunnels.length;
  const added = Math.round((newer.end - kept.end) / kept.step_s);
  if (added < 0 || added > length) return null;
  const most = HOUR_S / kept.step_s;
  const [zeros, unknown] = [0, null].map((value) => ({ old: Array(kept.series.tunnels.length).fill(value), new: Array(length).fill(value) }));
  const join = (before, after) => [...before, ...after.slice(length - added)].slice(-most);
  const { refused, targets, ...rest } = newer.series;
  const series = Object.fromEntries(Object.keys(rest).map((name) => [name, join(kept.series[name], rest[name])]));
  // A cause without a refusal is left out; a target without a history has lost it, or begins one.
  const causes = new Set([...Object.keys(kept.series.refused), ...Object.keys(refused)]);
  series.refused = Object.fromEntries([...causes].map((cause) => [cause, join(kept.series.refused[cause] ?? zeros.old, refused[cause] ?? zeros.new)]));
  series.targets = Object.fromEntries(Object.entries(targets).map(([target, one]) => {
    const before = kept.series.targets[target] ?? {};
    return [target, Object.fromEntries(Object.keys(one).map((name) => [name, join(before[name] ?? unknown.old, one[name])]))];
  }));
  return { ...newer, series };
}

/** Sums of groups of steps, aligned to the end, for a chart with fewer bars than steps. */
export function bins(values, size) {
  const found = [];
  for (let end = values.length; end > 0; end -= size) {
    found.unshift(values.slice(Math.max(0, end - size), end).reduce((sum, value) => sum + value, 0));
  }
  return found;
}

/** The causes with the most refusals, the largest first, and the others summed as "other". */
export function causesOf(refused, most) {
  const sums = Object.entries(refused).map(([cause, values]) => [cause, values.reduce((sum, value) => sum + value, 0)]);
  const found = sums.filter(([, sum]) => sum > 0).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const shown = found.slice(0, most).map(([cause, sum]) => ({ cause, sum, values: refused[cause] }));
  const rest = found.slice(most);
  if (!rest.length) return shown;
  const values = rest[0] && refused[rest[0][0]].map((_, at) => rest.reduce((sum, [cause]) => sum + (refused[cause][at] ?? 0), 0));
  return [...shown, { cause: "other", sum: rest.reduce((sum, [, one]) => sum + one, 0), values }];
}
