// Records as they pass. The pipeline copies none of them unless somebody looks, so the page asks
// only while the button is down and the page is seen.

import { by, bytes, keep, make, text, time } from "./format.js";

const KEPT = 30;
let source = null;
let wanted = false;
let records = [];

export function start() {
  by("tap-toggle").addEventListener("click", () => {
    wanted = !wanted;
    by("tap-toggle").setAttribute("aria-pressed", String(wanted));
    text(by("tap-toggle"), wanted ? "Stop" : "Look");
    look();
  });
  by("tap-stage").addEventListener("change", show);
  document.addEventListener("visibilitychange", look);
}

/** The stages that can be chosen. */
export function stages(status) {
  const names = ["", ...status.stages.map((stage) => stage.name)];
  keep(by("tap-stage"), names, (name) => name, (name) => {
    const option = make("option", "", name || "all stages");
    option.value = name;
    return option;
  });
}

function look() {
  const now = wanted && !document.hidden;
  if (now && !source) {
    source = new EventSource("/tap");
    source.addEventListener("open", () => text(by("tap-note"), "Newest first. Open one to read all of it."));
    source.addEventListener("records", (event) => {
      records = [...JSON.parse(event.data).records.reverse(), ...records];
      // Each stage keeps its share, so that a busy one does not push out the others.
      const kept = new Map();
      records = records.filter((record) => {
        const n = (kept.get(record.stage) ?? 0) + 1;
        kept.set(record.stage, n);
        return n <= KEPT;
      });
      show();
    });
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      text(by("tap-note"), "Records are shown only on the machine where the pipeline runs.");
    });
  } else if (!now && source) {
    source.close();
    source = null;
  }
}

function show() {
  const list = by("tap");
  // What is being read must not move away.
  if (list.querySelector("details[open]")) {
    text(by("tap-note"), "Paused while a record is open.");
    return;
  }
  if (source) text(by("tap-note"), "Newest first. Open one to read all of it.");
  const stage = by("tap-stage").value;
  const shown = records.filter((record) => !stage || record.stage === stage).slice(0, KEPT);
  list.replaceChildren(...shown.map(item));
}

function item(record) {
  const where = [record.at_ms ? time(record.at_ms) : "", record.stage, record.key ?? ""].filter(Boolean).join(" · ");
  const summary = make("summary", "", make("span", "where", where), make("code", "", record.value.slice(0, 200) || "(empty)"));
  const pre = make("pre", "", pretty(record.value));
  pre.tabIndex = 0;
  const cut = record.bytes > new Blob([record.value]).size ? `, cut` : "";
  const place = make("p", "quiet", `${record.topic}, partition ${record.partition}, offset ${record.offset}, ${bytes(record.bytes)}${cut}`);
  return make("li", "", make("details", "", summary, place, pre));
}

function pretty(value) {
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}
