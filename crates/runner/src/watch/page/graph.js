// The pipeline as a graph: for each topic its sources on one side and its sinks on the other, with
// live rates on the edges; and the stages as a table.

import { by, bytes, duration, keep, kind, make, number, rate, text } from "./format.js";

/** Above this many records a second an edge flows fast. */
const FAST = 1000;

const HEADS = ["Stage", "State", "In", "Out", "Bytes in", "Records", "Lag", "p50", "p95", "p99",
  "Batch", "Transform", "Write", "Rejected", "Reconnects", "Rebalances", "Last event"];

const sum = (lag) => Object.values(lag).reduce((all, records) => all + records, 0);

export function graph(status) {
  const topics = [...new Set(status.stages.map((stage) => stage.topic))];
  keep(by("graph"), topics, (topic) => topic, lane, (element, topic) => {
    const [sources, node, sinks] = element.children;
    const of = (isSource) => status.stages.filter((s) => s.topic === topic && s.is_source === isSource);
    keep(sources, of(true), (s) => s.name, leg, updateLeg);
    keep(sinks, of(false), (s) => s.name, leg, updateLeg);
    text(node.firstElementChild, topic);
  });
  const told = status.stages.filter((stage) => stage.reason);
  keep(by("reasons"), told, (s) => s.name, () => make("li"), (item, stage) => {
    kind(item, stage.state);
    text(item, `${stage.name} is ${stage.state}: ${stage.reason}`);
  });
}

function lane() {
  const topic = make("div", "node topic", make("strong"), make("span", "kind", "topic"));
  return make("div", "lane", make("ul", "side"), topic, make("ul", "side"));
}

function leg(stage) {
  const node = make("div", "node", make("strong", "", stage.name),
    make("span", "kind", stage.connector), make("span", "pill"));
  const edge = make("div", "edge", make("div", "rate num"), make("div", "wire"), make("div", "also"));
  return make("li", "leg", ...(stage.is_source ? [node, edge] : [edge, node]));
}

function updateLeg(item, stage) {
  const edge = item.querySelector(".edge");
  const flow = stage.is_source ? stage.rates.records_out : stage.rates.records_in;
  kind(edge, `edge${flow > 0 ? " flows" : ""}${flow > FAST ? " fast" : ""}`);
  text(edge.querySelector(".rate"), rate(flow));
  const also = stage.transforms.map((uses) => `ƒ ${uses}`);
  if (!stage.is_source) also.push(`lag ${number(sum(stage.lag))}`);
  if (stage.rejected > 0) also.push(`${number(stage.rejected)} rejected`);
  const note = edge.querySelector(".also");
  text(note, also.join(" · "));
  kind(note, stage.rates.rejected > 0 ? "also bad" : "also");
  const pill = item.querySelector(".pill");
  kind(pill, `pill ${stage.state}`);
  text(pill, stage.state);
}

export function stages(status) {
  keep(by("stage-heads"), HEADS, (head) => head, (head) => {
    const cell = make("th", "", head);
    cell.scope = "col";
    return cell;
  });
  keep(by("stages"), status.stages, (s) => s.name, row, (element, stage) => {
    const latency = (q) => {
      const all = stage.latency_ms;
      // Beyond the last bucket only that much is known.
      return all ? `${all[q] >= all.bound ? ">" : ""}${duration(all[q])}` : "–";
    };
    const mean = (spread, as) => (spread ? as(spread.mean) : "–");
    [stage.name, stage.state, rate(stage.rates.records_in), rate(stage.rates.records_out),
      `${bytes(stage.rates.bytes_in)}/s`, number(stage.records_in),
      stage.is_source ? "–" : number(sum(stage.lag)), latency("p50"), latency("p95"), latency("p99"),
      mean(stage.batch_records, number), mean(stage.transform_ms, duration),
      mean(stage.write_ms, duration), number(stage.rejected), number(stage.reconnects),
      number(stage.rebalances),
      stage.last_event_age_ms === undefined ? "–" : `${duration(stage.last_event_age_ms)} ago`,
    ].forEach((value, index) => text(element.children[index], value));
  });
  const sinks = status.stages.filter((stage) => !stage.is_source);
  keep(by("lag"), sinks, (s) => s.name, (s) => make("li", "", make("b", "", s.name), make("span", "num")),
    (item, stage) => {
      const parts = Object.entries(stage.lag).map(([p, records]) => `${p}: ${number(records)}`);
      text(item.lastElementChild, parts.length > 0 ? parts.join(" · ") : "no partition is read here");
    });
}

function row() {
  const head = make("th");
  head.scope = "row";
  return make("tr", "", head, ...HEADS.slice(1).map(() => make("td")));
}
