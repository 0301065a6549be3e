// Counts by key as bars, windows, and dead letters with their reasons.

import { by, clock, keep, make, number, rate, text, time } from "./format.js";

const SHOWN = 20;
/** Counts of the last few seconds, for their growth. */
const past = [];
let rejectedThen = -1;
let asked = 0;

const ranked = (counts) => Object.entries(counts).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));

export function counts(status) {
  const told = status.counts;
  const note = by("counts-note");
  if (!told) {
    text(note, "No sink of this pipeline counts.");
    return;
  }
  if (past.at(-1)?.at_ms !== told.at_ms) past.push(told);
  if (past.length > 6) past.shift();
  const rows = ranked(told.largest);
  const trouble = told.error ? `The counts cannot be read: ${told.error}` : "";
  const also = told.keys > SHOWN ? `, the largest ${SHOWN} of ${number(told.keys)} keys` : "";
  const windows = told.windows ?? [];
  const total = windows.length > 0 && told.keys === 0 ? "" : `${number(told.total)} in all${also}`;
  text(note, [trouble, total].filter(Boolean).join(". ") || "Counted in windows:");
  const most = Math.max(1, rows[0]?.[1] ?? 1);
  keep(by("counts"), rows.slice(0, SHOWN), ([key]) => key, bar, (item, [key, count]) => {
    item.children[1].firstElementChild.style.width = `${Math.max(0, count / most) * 100}%`;
    const [value, growth] = item.children[2].children;
    text(value, number(count));
    text(growth, grown(key));
  });
  keep(by("windows"), windows.slice().reverse(), (w) => `${w.sink} ${w.start}`, windowTable, fillWindow);
}

function bar([key]) {
  const name = make("span", "key", key);
  name.title = key;
  return make("li", "", name, make("span", "", make("div", "bar")),
    make("span", "num", make("span", "value"), " ", make("span", "growth")));
}

function grown(key) {
  const [from, to] = [past[0], past.at(-1)];
  const seconds = (to.at_ms - from.at_ms) / 1000;
  if (seconds <= 0 || !Object.hasOwn(from.largest, key)) return "";
  return rate(Math.max(0, to.largest[key] - from.largest[key]) / seconds);
}

function windowTable(window) {
  const title = make("h3", "", `${window.sink}, from ${clock(window.start)} to ${clock(window.end)} `, make("span"));
  return make("div", "", title, make("table", "", make("tbody")));
}

function fillWindow(element, window) {
  text(element.querySelector("span"), window.closed ? "" : "(open)");
  keep(element.querySelector("tbody"), ranked(window.counts), ([key]) => key, ([key]) => {
    const head = make("th", "", key);
    head.scope = "row";
    return make("tr", "", head, make("td"));
  }, (row, [, count]) => text(row.lastElementChild, number(count)));
}

export function deadLetters(status) {
  const rejected = status.stages.reduce((all, stage) => all + stage.rejected, 0);
  const topics = status.stages.filter((stage) => stage.rejected > 0).map((stage) => stage.topic);
  const list = [...new Set(topics)].map((topic) => `gristmill dead-letter list ${topic}`).join("; ");
  text(by("dead-note"), rejected > 0 ? `${number(rejected)} in this run. All of them: ${list}` : "None in this run.");
  const kinds = status.stages.flatMap((stage) => stage.rejects.map((kind) => ({ stage, ...kind })));
  kinds.sort((a, b) => b.records - a.records);
  keep(by("dead-kinds"), kinds, (k) => `${k.stage.name} ${k.step} ${k.reason}`,
    (k) => make("li", "", make("span", "num"), make("span", "", `${k.step}: ${k.reason}`)),
    (item, k) => text(item.firstElementChild, number(k.records)));
  // The newest ones are asked for when there are others, and not all the time.
  if (rejected !== rejectedThen && Date.now() - asked > 2000) {
    rejectedThen = rejected;
    asked = Date.now();
    if (rejected > 0) recent();
  }
}

async function recent() {
  const answer = await fetch("/dead-letters").catch(() => null);
  // Elsewhere than on the machine itself they are not shown.
  if (!answer?.ok) return;
  const letters = await answer.json();
  by("dead-recent-title").hidden = letters.length === 0;
  keep(by("dead-recent"), letters.slice(0, 6), (l) => `${l.stage} ${l.partition} ${l.offset} ${l.at_ms}`, (l) =>
    make("li", "", l.reason.startsWith(`${l.step}:`) ? l.reason : `${l.step}: ${l.reason}`,
      make("span", "where", `${time(l.at_ms)} · ${l.stage} · ${l.topic}, partition ${l.partition}, offset ${number(l.offset)}`)));
}
