// What the picture shows, and where: clients, routes and brokers as columns of nodes, and the links between them. Where
// tunnels come by one of several listeners, these are a column between the clients and the routes.
// Pure: no document, no clock.

export const OTHERS = null; // the id of what is folded into one node

const MIN_HEIGHT = 30; // of a node: two lines of text
const GAP = 10;
const MIN_WIDTH = 1.5; // of a link
const FLOW_HEIGHT = 110; // shared by the widths of all links

/**
 * The nodes and links of a state. most: nodes of a column besides the one that has the others.
 *
 * A node is {id, value: tunnels, bad: why it fails, or "", rate: bytes a second, fold: how many it stands for}. A link
 * is {from, to, value, bad}; between a route and a broker without a tunnel it has the value 0.
 */
export function graphOf({ routes: listed, targets, listeners = [] }, flows, most) {
  const routes = byName(listed);
  const routeNodes = nodesOf(routes.map((one) => ({ id: one.server_name, bad: one.error ?? "", ...sumsOf(one) })), most);
  const targetNodes = nodesOf(targets.map((one) => ({ id: one.target, bad: badOf(one), ...sumsOf(one) })), most);
  const clientNodes = nodesOf(clientsOf(flows), most);
  const listenerNodes = nodesOf(listenersOf(listeners, flows), most);
  const [clientOf, listenerOf, routeOf, targetOf] = [clientNodes, listenerNodes, routeNodes, targetNodes].map(folder);
  const bad = new Set([...routeNodes, ...targetNodes].filter((one) => one.bad).map((one) => one.id));
  const last = new Map();
  for (const { route, target, connections } of flows.route_targets) add(last, routeOf(route), targetOf(target), connections);
  for (const { server_name: name, targets: leads } of routes) {
    if (routeOf(name) !== OTHERS) for (const target of leads) add(last, name, targetOf(target), 0);
  }
  const split = listenerNodes.length > 0;
  const linked = (list, from, fromOf, to, toOf) => {
    const links = new Map();
    for (const one of list) add(links, fromOf(one[from]), toOf(one[to]), one.connections);
    return links;
  };
  const first = split
    ? [linked(flows.client_listeners, "client", clientOf, "listener", listenerOf), linked(flows.listener_routes, "listener", listenerOf, "route", routeOf)]
    : [linked(flows.client_routes, "client", clientOf, "route", routeOf)];
  const columns = [clientNodes, ...(split ? [listenerNodes] : []), routeNodes, targetNodes];
  const ids = columns.map((nodes) => new Set(nodes.map((one) => one.id)));
  const drawable = (list, side) => [...list.values()].filter((one) => ids[side].has(one.from) && ids[side + 1].has(one.to));
  const red = (one, side) => (split && side === 0 ? false : one.to !== OTHERS && bad.has(one.to));
  return {
    kinds: ["client", ...(split ? ["listener"] : []), "route", "broker"],
    columns,
    links: [...first, last].map((list, side) => drawable(list, side).map((one) => ({ ...one, bad: red(one, side) }))),
  };
}

/** The listeners that tunnels come by, if there are several listeners; a release before this one does not name them. */
function listenersOf(listeners, { listener_routes: links = [] }) {
  if (listeners.length < 2) return [];
  const sums = new Map();
  for (const { listener, connections } of links) sums.set(listener, (sums.get(listener) ?? 0) + connections);
  const known = [...sums].filter(([id]) => id !== OTHERS).map(([id, value]) => ({ id, value, bad: "", rate: null }));
  const rest = sums.get(OTHERS);
  return rest ? [...known, { id: OTHERS, value: rest, bad: "", rate: null, fold: Math.max(1, listeners.length - known.length) }] : known;
}

/** Whether connections to a target fail now. One that nothing checks fails if its last connect did. */
export const fails = ({ state, why }) => state === "down" || state === "ejected" || (state === "unchecked" && Boolean(why));

/** How a target fails: its state, or that its last connect failed. Empty: it does not. */
export const failureOf = (one) => (!fails(one) ? "" : one.state === "unchecked" ? "last connect failed" : one.state);

const badOf = (one) => [failureOf(one), fails(one) && one.why ? reasonOf(one) : ""].filter(Boolean).join(": ");
/** Routes by server name: those of several listeners are one, as the counts of tunnels have them. */
export function byName(routes) {
  const found = new Map();
  for (const route of routes) {
    const one = found.get(route.server_name);
    if (!one) found.set(route.server_name, { ...route });
    else {
      for (const sum of ["connections", "up_per_s", "down_per_s"]) one[sum] = (one[sum] ?? 0) + (route[sum] ?? 0);
      one.targets = [...new Set([...one.targets, ...route.targets])];
      one.error ??= route.error;
    }
  }
  return [...found.values()];
}

/** Why a target fails, without its own name. */
export const reasonOf = ({ target, why }) => (why.startsWith(`${target}: `) ? why.slice(target.length + 2) : why);

const sumsOf = (one) => ({ value: one.connections, rate: (one.up_per_s ?? 0) + (one.down_per_s ?? 0) });

function clientsOf(flows) {
  const named = flows.clients.map((one) => ({ id: one.client, value: one.connections, bad: "", rate: null }));
  const rest = flows.client_count - named.length;
  const value = flows.connections - named.reduce((sum, one) => sum + one.value, 0);
  return rest > 0 ? [...named, { id: OTHERS, value, bad: "", rate: null, fold: rest }] : named;
}

/** At most this many nodes: those that fail and those with the most tunnels. The last one is for all others. */
export function nodesOf(all, most) {
  const single = all.filter((one) => one.id !== OTHERS);
  const ranked = [...single].sort((a, b) => Boolean(b.bad) - Boolean(a.bad) || b.value - a.value);
  const chosen = new Set(ranked.slice(0, most));
  const shown = single.filter((one) => chosen.has(one)).sort((a, b) => b.value - a.value).map((one) => ({ ...one, fold: 1 }));
  const rest = all.filter((one) => !chosen.has(one));
  if (!rest.length) return shown;
  const sum = (of) => rest.reduce((total, one) => total + (of(one) ?? 0), 0);
  const failing = rest.filter((one) => one.bad).length;
  return [...shown, { id: OTHERS, value: sum((one) => one.value), rate: rest.every((one) => one.rate == null) ? null : sum((one) => one.rate), bad: failing ? `${failing} failing` : "", fold: sum((one) => one.fold ?? 1) }];
}

function folder(nodes) {
  const shown = new Set(nodes.map((one) => one.id));
  return (id) => (shown.has(id) ? id : OTHERS);
}

function add(links, from, to, value) {
  const key = JSON.stringify([from, to]);
  const link = links.get(key) ?? { from, to, value: 0 };
  link.value += value;
  links.set(key, link);
}

/** Places of nodes and links: each column begins at the top, and links keep the order of the nodes. */
export function placed({ columns, links }) {
  const all = columns.map((nodes) => Math.max(1, nodes.reduce((sum, one) => sum + one.value, 0)));
  const scale = FLOW_HEIGHT / Math.max(...all);
  const heightOf = (one) => MIN_HEIGHT + one.value * scale;
  const heights = columns.map((nodes) => nodes.reduce((sum, one) => sum + heightOf(one) + GAP, -GAP));
  const height = Math.max(MIN_HEIGHT, ...heights);
  const nodes = columns.map((list, index) => {
    let y = (height - heights[index]) / 2;
    return list.map((one) => {
      const node = { ...one, y, height: heightOf(one) };
      y += node.height + GAP;
      return node;
    });
  });
  return { height, nodes, links: links.map((list, side) => placedLinks(list, nodes[side], nodes[side + 1], scale)) };
}

function placedLinks(links, left, right, scale) {
  const order = (nodes) => new Map(nodes.map((one, index) => [one.id, index]));
  const [from, to] = [order(left), order(right)];
  const widthOf = (one) => Math.max(MIN_WIDTH, one.value * scale);
  const sides = [[left, "from"], [right, "to"]].map(([nodes, end]) => new Map(nodes.map((node) => {
    const sum = links.filter((one) => one[end] === node.id).reduce((total, one) => total + widthOf(one), 0);
    return [node.id, node.y + (node.height - sum) / 2];
  })));
  const next = (side, id, width) => {
    const y = sides[side].get(id);
    sides[side].set(id, y + width);
    return y + width / 2;
  };
  const sorted = [...links].sort((a, b) => from.get(a.from) - from.get(b.from) || to.get(a.to) - to.get(b.to));
  return sorted.map((one) => ({ ...one, width: widthOf(one), y0: next(0, one.from, widthOf(one)), y1: next(1, one.to, widthOf(one)) }));
}
