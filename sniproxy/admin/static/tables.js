// Tables: columns that sort, pages of rows, cells updated in place. Only the rows of the shown page exist.
import { $, attributes, element, put, rows } from "./helpers.js";
import { count } from "./texts.js";

const NARROW = "(max-width: 1000px)"; // there a row is a card
const MAX_CARDS = 10;

/** The items in the order of a column. descending: the largest first. Items without a value come last. */
export function sorted(items, value, descending) {
  const sign = descending ? -1 : 1;
  return items
    .map((item, index) => ({ item, index, by: value(item) }))
    .sort((a, b) => {
      if (a.by == null || b.by == null) return (a.by == null) - (b.by == null) || a.index - b.index;
      const order = typeof a.by === "number" ? a.by - b.by : String(a.by).localeCompare(String(b.by), "en", { numeric: true });
      return sign * order || a.index - b.index;
    })
    .map((one) => one.item);
}

/** The page that has items, and the numbers of its first and last one. */
export function pageOf(page, size, total) {
  const last = Math.max(0, Math.ceil(total / size) - 1);
  const now = Math.min(Math.max(0, page), last);
  return { page: now, last, from: total ? now * size + 1 : 0, to: Math.min(total, (now + 1) * size) };
}

/** A cell of lines: [text, class] each; lines without a text are left out. */
export const lines = (...all) => ({
  node: (place) => rows(place, "span", all.filter(([text]) => text), ([, kind], index) => kind ?? index, (line, [text, kind]) => {
    line.className = `line ${kind ?? ""}`;
    put(line, text);
    line.title = text;
  }),
});

/**
 * A table in the element of an id.
 *
 * columns: {label, cell(item), sort(item), kind: class of the cells, first: "down" if the largest come first}. A cell is
 * a text, {text, kind, title, tag}, or {node(place)} that fills the place itself. key: names the row of an item. size:
 * rows of a page. ask: of a remote table, whose items are a page that the proxy has sorted: called when another page or
 * order is wanted; there sort is a word for the proxy, and each column has one direction.
 */
export class Table {
  constructor(id, { columns, key, size = 20, ask = null }) {
    this.columns = columns;
    this.key = key;
    this.size = matchMedia(NARROW).matches ? Math.min(size, MAX_CARDS) : size;
    this.ask = ask;
    this.page = 0;
    this.by = null;
    this.descending = false;
    this.table = $(id);
    this.name = this.table.caption.textContent;
    this.block = this.table.parentElement;
    this.empty = this.block.nextElementSibling;
    this.pager = this._pager();
    this._head();
  }

  /** Show items. total: of a remote table, how many there are on all pages. */
  show(items, total = items.length) {
    this.items = items;
    this.total = total;
    const place = pageOf(this.page, this.size, total);
    this.page = place.page;
    const ordered = this.by && !this.ask ? sorted(items, this.by.sort, this.descending) : items;
    const shown = this.ask ? ordered : ordered.slice(place.page * this.size, (place.page + 1) * this.size);
    rows(this.table.tBodies[0], "tr", shown, this.key, (row, item) => this._fill(row, item));
    this.block.hidden = total === 0;
    this.empty.hidden = total > 0;
    this._page(place);
  }

  _fill(row, item) {
    this.columns.forEach((column, index) => {
      const place = row.cells[index] ?? row.appendChild(cellOf(column, index));
      fill(place, column, column.cell(item));
    });
  }

  _head() {
    const row = element("tr");
    for (const column of this.columns) {
      const head = element("th", column.kind ?? "");
      head.scope = "col";
      if (column.sort) {
        const button = element("button", "sort", column.label);
        button.type = "button";
        button.addEventListener("click", () => this._sort(column));
        head.append(button);
      } else if (column.silent) head.append(element("span", "unseen", column.label));
      else head.textContent = column.label;
      row.append(head);
      column.head = head;
    }
    this.table.createTHead().replaceChildren(row);
    if (!this.table.tBodies.length) this.table.createTBody();
  }

  /** A click sorts by a column, the next one turns the order (not of a remote table), the third ends it. */
  _sort(column) {
    const down = column.first === "down";
    if (this.by !== column) [this.by, this.descending] = [column, down];
    else if (this.descending === down && !this.ask) this.descending = !down;
    else this.by = null;
    for (const one of this.columns) {
      const order = one === this.by ? (this.descending ? "descending" : "ascending") : null;
      attributes(one.head, { "aria-sort": order });
    }
    this._turn(0);
  }

  _turn(page) {
    this.page = page;
    if (this.ask) this.ask();
    else this.show(this.items ?? []);
  }

  _pager() {
    const pager = element("div", "pager");
    const [back, text, next] = [element("button", "", "Previous"), element("span"), element("button", "", "Next")];
    back.type = next.type = "button";
    back.setAttribute("aria-label", `${this.name}: previous page`);
    next.setAttribute("aria-label", `${this.name}: next page`);
    back.addEventListener("click", () => this._turn(this.page - 1));
    next.addEventListener("click", () => this._turn(this.page + 1));
    pager.append(back, text, next);
    this.empty.after(pager);
    return pager;
  }

  _page({ page, last, from, to }) {
    const [back, text, next] = this.pager.children;
    this.pager.hidden = last === 0;
    back.disabled = page === 0;
    next.disabled = page === last;
    put(text, `${count(from)}–${count(to)} of ${count(this.total)}`);
  }
}

function cellOf(column, index) {
  const place = element(index ? "td" : "th");
  if (!index) place.scope = "row";
  if (!column.silent) place.dataset.label = column.label;
  return place;
}

function fill(place, column, cell) {
  const { text = "", kind = "", title, tag, node } = typeof cell === "string" ? { text: cell } : cell;
  const name = [column.kind, kind].filter(Boolean).join(" ");
  if (place.className !== name) place.className = name;
  if (node) return node(place);
  if (tag && !place.firstElementChild) place.replaceChildren(element("span"));
  const holder = tag ? place.firstElementChild : place;
  if (tag) holder.className = `tag ${tag}`;
  put(holder, text);
  attributes(place, { title: title || (column.kind === "text" ? text : null) });
}
