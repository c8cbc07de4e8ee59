// Drains: the active ones, a button in each row, and the dialog that confirms. The token is kept in memory only, until
// the page is closed or reloaded.
import { $, announce, element, put, rows } from "./helpers.js";
import { few, plural, since } from "./texts.js";

let token = "";
let asked = null; // what the dialog is about: {action, kind, name, connections}
let changed = () => {}; // called after a drain has begun or ended

/** The path of a request to drain or undrain. */
export function pathOf({ action, name }, rate) {
  const query = new URLSearchParams(action === "drain" ? { name, rate } : { name });
  return `/${action}?${query}`;
}

/** The texts of the dialog. */
export function question({ action, kind, name, connections }) {
  if (action === "undrain") {
    return { title: `Undrain ${kind} ${name}?`, text: `The ${kind} takes new connections again.`, yes: "Undrain" };
  }
  const ends = connections ? `its ${plural(connections, "connection")} are ended one by one, at the rate below` : "no connection of it is open";
  const first = kind === "target" ? " Unload the broker's topics first, or clients come back to it." : "";
  return { title: `Drain ${kind} ${name}?`, text: `The ${kind} gets no new connections, and ${ends}.${first}`, yes: "Drain" };
}

/** Fill a cell with the button of its row. draining: "kind name" of each drain. */
export function drainButton(place, kind, name, connections, draining) {
  let button = place.firstElementChild;
  if (!button) {
    button = element("button", "drain");
    button.type = "button";
    button.addEventListener("click", () => ask(button.about));
    place.append(button);
  }
  const action = draining.has(`${kind} ${name}`) ? "undrain" : "drain";
  button.about = { action, kind, name, connections };
  put(button, action === "drain" ? "Drain" : "Undrain");
  const label = `${button.textContent} ${kind} ${name}`;
  if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
}

/** Show the active drains. */
export function showDrains(status) {
  $("drains-section").hidden = status.drains.length === 0;
  rows($("drains"), "li", status.drains, (one) => `${one.kind} ${one.name}`, (item, one) => {
    if (!item.firstChild) item.append(element("span", "text"), element("progress"), element("span", "action"));
    const [text, bar, action] = item.children;
    const clients = one.left && one.clients.length ? `: ${few(one.clients, 3)}` : "";
    put(text, `${one.kind} ${one.name}, begun ${since(status.time, one.since)}, ${one.rate} a second: ${one.closed} closed, ${one.refused} refused, ${one.left} left${clients}`);
    bar.max = Math.max(1, one.closed + one.left);
    bar.value = one.closed;
    bar.setAttribute("aria-label", `${one.kind} ${one.name}: closed connections`);
    drainButton(action, one.kind, one.name, one.left, new Set([`${one.kind} ${one.name}`]));
  });
}

/** Connect the dialog. after: called when a request has changed something. */
export function prepare(after) {
  changed = after;
  const dialog = $("confirm");
  $("confirm-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("confirm-cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    $("confirm-token").value = "";
  });
}

function ask(about) {
  asked = about;
  const { title, text, yes } = question(about);
  put($("confirm-title"), title);
  put($("confirm-text"), text);
  put($("confirm-yes"), yes);
  put($("confirm-error"), "");
  $("confirm-rate-row").hidden = about.action !== "drain";
  $("confirm-token").placeholder = token ? "the token entered before" : "";
  $("confirm").showModal();
}

async function send() {
  const about = asked;
  token = $("confirm-token").value.trim() || token;
  $("confirm-token").value = "";
  $("confirm-yes").disabled = true;
  try {
    const response = await fetch(pathOf(about, $("confirm-rate").value), { method: "POST", headers: authorization(token) });
    if (!response.ok) throw new Error((await response.text()).trim() || `status ${response.status}`);
    $("confirm").close();
    announce(`${about.action === "drain" ? "Draining" : "No longer draining"} ${about.kind} ${about.name}`);
    changed();
  } catch (error) {
    token = "";
    $("confirm-token").placeholder = "";
    put($("confirm-error"), error.message);
  } finally {
    $("confirm-yes").disabled = false;
  }
}

/** The header of a token; none for an endpoint on a Unix socket, which needs no token. */
export const authorization = (secret) => (secret ? { Authorization: `Bearer ${secret}` } : {});
