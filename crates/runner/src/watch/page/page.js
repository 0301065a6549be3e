// The page: one stream of statuses, and what is drawn from each.

import * as chart from "./chart.js";
import { counts, deadLetters } from "./counts.js";
import { by, bytes, duration, kind, text } from "./format.js";
import { graph, stages } from "./graph.js";
import * as tap from "./tap.js";

/** A status comes once a second; after this long without one the connection counts as lost. */
const SILENT_MS = 4000;
const AGAIN_MS = 2000;

let heard = 0;
let lost = false;
let source = null;

function connect() {
  source = new EventSource("/events");
  source.addEventListener("status", (event) => {
    heard = Date.now();
    if (lost) chart.load();
    connection(false, "Live");
    show(JSON.parse(event.data));
  });
  source.addEventListener("end", () => {
    source.close();
    connection(true, "The pipeline has ended; looking for it to come back");
    setTimeout(connect, AGAIN_MS);
  });
  source.addEventListener("error", () => {
    connection(true, "Connection lost, trying again");
    // The browser tries again by itself unless it was refused.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
  });
}

function connection(isLost, words) {
  lost = isLost;
  kind(by("connection"), isLost ? "lost" : "");
  document.body.classList.toggle("lost", isLost);
  // What it says to begin with may be more than that it was lost.
  if (!isLost || !by("connection").textContent.startsWith("The pipeline has ended")) text(by("connection"), words);
}

function show(status) {
  if (document.hidden) return;
  const state = !status.healthy ? "failed" : status.ready ? "running" : "waiting";
  document.title = `${status.pipeline} · ${state} · Gristmill`;
  text(by("name"), status.pipeline);
  text(by("state"), state);
  kind(by("state"), `pill ${state}`);
  const facts = [`for ${duration(status.at_ms - status.started_ms)}`, `process ${status.pid}`];
  if (status.memory_bytes) facts.push(bytes(status.memory_bytes));
  text(by("facts"), facts.join(" · "));
  text(by("version"), status.version);
  graph(status);
  counts(status);
  stages(status);
  deadLetters(status);
  tap.stages(status);
  chart.point(status);
}

setInterval(() => {
  if (!lost && heard > 0 && Date.now() - heard > SILENT_MS) connection(true, "Connection lost, trying again");
}, 1000);
tap.start();
chart.start();
connect();
