// Lines over time. The pipeline keeps the last hour; the page asks for the part that is shown and
// goes on from there with what each status tells.

import { by, compact, duration, keep, make, number, rate, text } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const LINES = 8;
/** A rate is taken over so many points: counts come in batches. */
const OVER = 5;

let told = null;
let span = 300;
let asking = 0;

/** Ask for the past, now and whenever another span is chosen or the connection was lost. */
export async function load() {
  const ticket = ++asking;
  const answer = await fetch(`/history?seconds=${span}`).catch(() => null);
  if (!answer?.ok) return;
  const history = await answer.json();
  if (ticket !== asking) return;
  // Keys are made from data and may have any name: maps, not objects.
  const stages = Object.entries(history.stages).map(([name, lines]) => [name, lines.records_in]);
  told = { ...history, stages: new Map(stages), counts: new Map(Object.entries(history.counts)) };
  draw();
}

export function start() {
  by("chart-span").addEventListener("change", (event) => {
    span = Number(event.target.value);
    load();
  });
  by("chart-what").addEventListener("change", draw);
  load();
}

/** A status came: one more point. */
export function point(status) {
  if (!told) return;
  if (status.at_ms - (told.at_ms.at(-1) ?? 0) < told.step * 1000 - 300) return;
  append(told.stages, status.stages.map((stage) => [stage.name, stage.records_in]));
  const largest = Object.entries(status.counts?.largest ?? {}).sort((a, b) => b[1] - a[1]);
  append(told.counts, largest.slice(0, LINES));
  told.at_ms.push(status.at_ms);
  const from = status.at_ms - span * 1000;
  const old = told.at_ms.findIndex((at) => at >= from);
  if (old > 0) {
    told.at_ms.splice(0, old);
    for (const line of [...told.stages.values(), ...told.counts.values()]) line.splice(0, old);
  }
  draw();
}

function append(all, pairs) {
  const now = new Map(pairs);
  for (const name of now.keys()) {
    if (!all.has(name)) all.set(name, told.at_ms.map(() => null));
  }
  for (const [name, line] of all) {
    line.push(now.get(name) ?? null);
    // One that has not been among the largest for the whole span is gone.
    if (line.every((value) => value === null)) all.delete(name);
  }
}

/** Values as growth per second: each point against one a few points before it. */
function growth(values) {
  return values.map((value, index) => {
    if (value === null) return null;
    for (let before = Math.max(0, index - OVER); before < index; before += 1) {
      const seconds = (told.at_ms[index] - told.at_ms[before]) / 1000;
      if (values[before] !== null && seconds > 0) return Math.max(0, value - values[before]) / seconds;
    }
    return null;
  });
}

/** What is drawn: name and values of each line, sorted by name. */
function lines(what) {
  const from = what === "stages" ? told.stages : told.counts;
  const all = [...from].map(([name, line]) => [name, what === "counts" ? line : growth(line)]);
  const last = (values) => values.findLast((value) => value !== null) ?? -1;
  return all.map(([name, values]) => ({ name, values, last: last(values) }))
    .sort((a, b) => b.last - a.last).slice(0, LINES).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The next 1, 2 or 5 with zeros. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value);
}

function draw() {
  if (!told || told.at_ms.length === 0) return;
  const what = by("chart-what").value;
  const shown = lines(what);
  const most = ceiling(shown.reduce((all, line) => line.values.reduce((m, v) => Math.max(m, v ?? 0), all), 0));
  const to = told.at_ms.at(-1);
  const from = Math.min(told.at_ms[0], to - 1000);
  const chart = by("chart");
  if (!chart.firstElementChild) frame(chart);
  const svg = chart.querySelector("svg");
  const points = (values) => values.flatMap((value, index) => (value === null ? [] :
    [`${((told.at_ms[index] - from) / (to - from) * 1000).toFixed(1)},${(100 - value / most * 100).toFixed(2)}`])).join(" ");
  const group = svg.lastElementChild;
  keep(group, shown, (line) => line.name, () => document.createElementNS(SVG, "polyline"), (line, { values }) =>
    line.setAttribute("points", points(values)));
  [...group.children].forEach((line, index) => line.setAttribute("class", `c${index}`));
  const label = what === "counts" ? compact : (n) => `${compact(n)}/s`;
  [...chart.querySelectorAll(".y")].forEach((y, index) => text(y, label(most * (1 - index / 2))));
  text(chart.querySelector(".x0"), `${duration(to - from)} ago`);
  text(chart.querySelector(".x1"), "now");
  const value = (last) => (last < 0 ? "–" : what === "counts" ? number(last) : rate(last));
  keep(by("legend"), shown, (line) => line.name, (line) => make("li", "", make("i"), `${line.name} `, make("span", "num")),
    (item, line) => text(item.lastElementChild, value(line.last)));
  [...by("legend").children].forEach((item, index) => { item.firstElementChild.className = `c${index}`; });
  const title = by("chart-what").selectedOptions[0].textContent;
  chart.setAttribute("aria-label", `Lines over the last ${duration(to - from)}: ${title}. The list below has the newest values.`);
}

function frame(chart) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const y of [0, 50, 100]) {
    const line = document.createElementNS(SVG, "line");
    Object.entries({ x1: 0, x2: 1000, y1: y, y2: y, class: "grid" }).forEach(([k, v]) => line.setAttribute(k, v));
    svg.append(line);
  }
  svg.append(document.createElementNS(SVG, "g"));
  const labels = [0, 1, 2].map((index) => {
    const label = make("span", "y num");
    label.style.top = `calc((100% - 1.4rem) * ${index / 2})`;
    return label;
  });
  chart.replaceChildren(svg, ...labels, make("span", "x0"), make("span", "x1"));
}
