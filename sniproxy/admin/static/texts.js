// Texts of numbers, times and names. Pure: no document, no clock.

export const DASH = "–"; // what a value that is not known looks like

export const count = (number) => (number ?? 0).toLocaleString("en");
export const plural = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;
export const clock = (time) => new Date(1000 * time).toLocaleTimeString();

/** Whether one of the texts has the filter in it. filter: in lower case; empty matches everything. */
export const matches = (filter, ...texts) => !filter || texts.some((text) => text?.toLowerCase().includes(filter));

export function bytes(size) {
  if (size < 1000) return `${Math.round(size)} B`;
  const unit = Math.min(4, Math.floor(Math.log10(size) / 3));
  return `${(size / 1000 ** unit).toFixed(1)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

/** Bytes a second; null or undefined: not known. */
export const byteRate = (rate) => (rate == null ? DASH : `${bytes(rate)}/s`);

/** A number a second with as many digits as it needs. */
export function rate(number) {
  if (number == null) return DASH;
  if (number === 0) return "0";
  if (number < 0.01) return "< 0.01";
  return number < 1 ? number.toFixed(2) : number < 100 ? number.toFixed(1) : count(Math.round(number));
}

/** Seconds as the time that a connect takes: 0.8 ms, 12 ms, 1.5 s. */
export function latency(seconds) {
  if (seconds == null) return DASH;
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const ms = 1000 * seconds;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const ago = (seconds) => (seconds < 1 ? "now" : `${span(seconds)} ago`);

/** The time since then; null: never. */
export const since = (now, time) => (time == null ? DASH : ago(now - time));

/** The first texts of a list, and how many more there are. */
export function few(texts, most) {
  const shown = texts.slice(0, most).join(", ");
  return texts.length > most ? `${shown} and ${texts.length - most} more` : shown;
}

/** A text of at most this many characters. It keeps the beginning of a name, where names differ, and the end of an address. */
export function cut(text, most) {
  if (text.length <= most) return text;
  const kept = Math.max(1, most - 1);
  return /^[\d[]/.test(text) ? `…${text.slice(-kept)}` : `${text.slice(0, kept)}…`;
}

/** persistent://tenant/namespace/topic as ["tenant/namespace", "topic"]. */
export function parts(topic) {
  const path = topic.replace(/^[a-z-]+:\/\//, "");
  const at = path.lastIndexOf("/");
  return at < 0 ? ["", path] : [path.slice(0, at), path.slice(at + 1)];
}

export const short = (topic) => (topic ?? DASH).replace(/^persistent:\/\//, "");
export const host = (url) => (url ? url.replace(/^[a-z+]+:\/\//, "") : DASH);

/** A result of the access log as words: no_route as "no route". */
export const words = (result) => result.replaceAll("_", " ");
