// Helpers of the page: children kept by key, tables, and texts of numbers, times and names. External text is set only as
// textContent or as text attributes, never as HTML.

export const $ = (id) => document.getElementById(id);

/** Update the children of a parent, one per item. Children are kept by key, so that a selection survives an update. */
export function rows(parent, tag, items, key, fill) {
  const kept = new Map([...parent.children].map((child) => [child.key, child]));
  const children = items.map((item) => {
    const name = key(item);
    const child = kept.get(name) ?? element(tag);
    kept.delete(name);
    child.key = name;
    return child;
  });
  for (const child of kept.values()) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  while (parent.children.length > items.length) parent.lastElementChild.remove(); // of duplicate keys
  children.forEach((child, index) => fill(child, items[index])); // after insertion, when the child has a size
}

export function element(tag, kind = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  return made;
}

export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const matches = (filter, ...texts) => !filter || texts.some((text) => text?.toLowerCase().includes(filter));

/** persistent://tenant/namespace/topic as ["tenant/namespace", "topic"]. */
export function parts(topic) {
  const path = topic.replace(/^[a-z-]+:\/\//, "");
  const at = path.lastIndexOf("/");
  return at < 0 ? ["", path] : [path.slice(0, at), path.slice(at + 1)];
}

export const short = (topic) => (topic ?? "–").replace(/^persistent:\/\//, "");
export const host = (url) => (url ? url.replace(/^[a-z+]+:\/\//, "") : "–");
export const count = (number) => number.toLocaleString("en");
export const plural = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;
export const clock = (time) => new Date(1000 * time).toLocaleTimeString();

export function bytes(size) {
  if (size < 1000) return `${Math.round(size)} B`;
  const unit = Math.min(4, Math.floor(Math.log10(size) / 3));
  return `${(size / 1000 ** unit).toFixed(1)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function ago(seconds) {
  return seconds < 1 ? "now" : `${span(seconds)} ago`;
}

export function table(id, items, key, cells) {
  const body = $(id);
  rows(body, "tr", items, key, (row, item) => {
    cells(item).forEach((cell, index) => {
      const { text, kind = "", tag } = typeof cell === "string" ? { text: cell } : cell;
      const place = row.cells[index] ?? row.insertCell();
      place.className = kind;
      if (tag && !place.firstElementChild) place.append(element("span"));
      const holder = tag ? place.firstElementChild : place;
      if (tag) holder.className = `tag ${tag}`;
      put(holder, text);
      place.title = text;
    });
  });
  const block = body.closest(".scroll");
  block.hidden = items.length === 0;
  block.nextElementSibling.hidden = items.length > 0;
}
