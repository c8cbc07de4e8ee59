// Scalable topics of Pulsar 5.0: the active segments of each as a bar, all segments as a list, and splits and merges.
import { $, element, put, rows } from "./helpers.js";
import { Table, lines } from "./tables.js";
import { ago, host, matches, parts, plural } from "./texts.js";

const MAX_LAYOUTS = 50; // scalable topics drawn
const HASHES = 65536; // of keys, which the segments of a scalable topic share

/** Draw the scalable topics that match the filter. cluster: the text that tells the clusters of several apart. */
export function layouts(topics, filter, cluster) {
  const found = topics.scalable_topics.filter((one) => matches(filter, one.topic, one.cluster));
  const shown = found.slice(0, MAX_LAYOUTS);
  $("layouts-section").hidden = topics.scalable_topics.length === 0;
  put($("layouts-note"), found.length > shown.length ? `the first ${shown.length} of ${found.length}` : "");
  rows($("layouts"), "article", shown, (one) => `${one.cluster} ${one.topic}`, (box, one) => {
    if (!box.firstChild) {
      box.className = "layout";
      box.append(element("h3"), element("p"), element("div", "ring"), element("ul"));
    }
    const [name, note, ring, list] = box.children;
    const active = one.segments.filter((segment) => !segment.sealed);
    put(name, one.topic + cluster(one));
    const controller = one.controller_url_tls ?? one.controller_url;
    put(note, `${plural(one.segments_total, "segment")}, epoch ${one.epoch}, ${controller ? `controller ${host(controller)}` : "no controller yet"}`);
    rows(ring, "span", active.filter((segment) => segment.hash_start !== null && segment.hash_end !== null), (segment) => segment.topic, (bar, segment) => {
      bar.style.left = `${(100 * segment.hash_start) / HASHES}%`;
      bar.style.width = `${(100 * (segment.hash_end - segment.hash_start + 1)) / HASHES}%`;
      put(bar, host(segment.broker));
      bar.title = `${segment.topic}\n${host(segment.broker)}\n${plural(segment.lookups, "lookup")}`;
    });
    rows(list, "li", one.segments, (segment) => segment.topic, (item, segment) => {
      item.className = segment.sealed ? "sealed" : "";
      const from = segment.parents.length ? `, from ${segment.parents.join(" and ")}` : "";
      put(item, `${parts(segment.topic)[1]} ${segment.sealed ? "sealed" : host(segment.broker)}${from}`);
      item.title = segment.topic;
    });
  });
  const changes = [...topics.split.map((one) => ({ ...one, kind: "split" })), ...topics.merged.map((one) => ({ ...one, kind: "merged" }))];
  changes.sort((a, b) => b.time - a.time);
  time = topics.time;
  changeTable ??= new Table("changes", { columns: changeColumns(cluster), key: (one) => `${one.time} ${one.cluster} ${one.topic} ${one.epoch}`, size: 10 });
  changeTable.show(changes);
}

let time = 0;
let changeTable = null;

const names = (segments) => segments.map((one) => (one.segment_topic ? parts(one.segment_topic)[1] : one.segment_id)).join(", ");

const changeColumns = (cluster) => [
  { label: "Topic", kind: "row-title", cell: (one) => lines([one.topic + cluster(one), "name"]) },
  { label: "When", cell: (one) => ago(time - one.time) },
  { label: "Change", cell: (one) => one.kind },
  { label: "Segments", kind: "wide", cell: (one) => names(one.parents) },
  { label: "Into", kind: "wide", cell: (one) => names(one.children) },
];
