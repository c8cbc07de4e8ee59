// Elements of the page. External text is set only as textContent or as text attributes, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** A new element. kind: its class. */
export function element(tag, kind = "", text = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

export const drawn = (tag) => document.createElementNS(SVG, tag);

/** Set the text of a node, unless it has it: a selection survives, and a screen reader does not repeat it. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set attributes that differ; null removes one. */
export function attributes(node, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value == null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
}

/**
 * Update the children of a parent, one per item. Children are kept by key, so that a selection and the focus survive.
 * tag: of a new child, or a function that makes it. fill: called with the child and its item.
 */
export function rows(parent, tag, items, key, fill) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const kept = new Map([...parent.children].map((child) => [child.key, child]));
  const children = items.map((item) => {
    const name = key(item);
    const child = kept.get(name) ?? (typeof tag === "function" ? tag() : element(tag));
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
  if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
}

/** Say a text to a screen reader when it has finished what it is saying. */
export function announce(text) {
  put($("announcements"), text);
}
