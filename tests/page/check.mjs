// The page in a real browser, served by a real pipeline. Each check says what it saw.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import { chromium } from "playwright-core";
import { job } from "./job.mjs";

const RATE = 600;
const FIRST_PAINT_MS = 300;
const PHONE = { width: 360, height: 740 };
const DESKTOP = { width: 1100, height: 980 };
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const screenshot = process.env.SCREENSHOT;
// A picture is of a pipeline that has run for a while.
const EVENTS = screenshot ? 30_000 : 6_000;

const wrong = [];
const watch = (page) => {
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
};
const said = (text) => console.log(`   page: ${text}`);
const live = (page) => page.locator("#connection", { hasText: "Live" }).waitFor();

async function open(browser, url, options) {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  const page = await context.newPage();
  watch(page);
  await page.goto(url);
  await live(page);
  return page;
}

async function accessible(page, what) {
  await page.evaluate(axe);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const found = await page.evaluate((values) => globalThis.axe.run(document, { runOnly: values }), tags);
  const text = found.violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.map((n) => `  ${n.html}\n  ${n.failureSummary}`).join("\n")}`);
  assert.deepEqual(text, [], `${what}:\n${text.join("\n")}`);
  said(`${what}: ${found.passes.length} accessibility rules hold, none is broken`);
}

async function firstPaint(browser, url) {
  const times = [];
  for (let round = 0; round < 7; round += 1) {
    const page = await open(browser, url);
    times.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
    await page.context().close();
  }
  const typical = times.sort((a, b) => a - b)[times.length >> 1];
  assert.ok(typical < FIRST_PAINT_MS, `first paint after ${times} ms`);
  said(`first paint after ${times.map(Math.round).join(", ")} ms`);
}

/** Everything that can be worked with is reached by Tab, and the tap is worked by keyboard alone. */
async function keyboard(page) {
  const reached = new Set();
  await page.locator("body").focus();
  for (let press = 0; press < 40; press += 1) {
    await page.keyboard.press("Tab");
    const name = await page.evaluate(() => {
      const { id, className, textContent, tagName } = document.activeElement;
      if (tagName === "BODY") return null;
      return id || className || textContent.trim();
    });
    if (name === null) break;
    reached.add(name);
  }
  for (const name of ["skip", "chart-what", "chart-span", "scroll", "tap-toggle", "tap-stage", "metrics"]) {
    assert.ok(reached.has(name), `${name} is not reached by Tab: ${[...reached]}`);
  }
  await page.locator("#tap-toggle").focus();
  await page.keyboard.press("Enter");
  const first = page.locator("#tap summary").first();
  await first.waitFor();
  await first.focus();
  await page.keyboard.press("Enter");
  await page.locator("#tap details[open] pre").first().waitFor();
  assert.equal(await page.locator("#tap-stage option").count(), 3, "all stages, and each of two");
  said(`by keyboard: ${[...reached].length} places, and a record opened`);
}

async function phone(browser, url) {
  const page = await open(browser, url, { viewport: PHONE, hasTouch: true, isMobile: true, colorScheme: "dark" });
  await page.locator("#counts li").first().waitFor();
  const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= seen, `on a phone it is ${wide} wide and ${seen} are seen`);
  await accessible(page, "phone, dark");
  await page.context().close();
  said(`on a phone of ${PHONE.width} px nothing is wider`);
}

async function picture(page) {
  await page.locator("#tap details[open] summary").first().click();
  await page.waitForTimeout(20_000);
  await page.evaluate(() => document.activeElement.blur());
  await page.screenshot({ path: screenshot });
  said(`a picture is in ${screenshot}`);
}

const shown = (page) => page.$$eval("#counts li", (items) => Object.fromEntries(items.map((item) =>
  [item.querySelector(".key").textContent, Number(item.querySelector(".value").textContent.replaceAll(",", ""))])));

/** Once everything is through: the page, the running pipeline and the store say the same. */
async function counts(page, work) {
  const deadline = Date.now() + 60_000;
  let onPage = {};
  let status = null;
  // Playwright's own way to wait would evaluate text, which the page's policy forbids.
  do {
    await page.waitForTimeout(300);
    status = work.status();
    onPage = await shown(page);
    assert.ok(Date.now() < deadline, `not all events went through: ${JSON.stringify(status)}`);
  } while (status.stages[1].records_in !== EVENTS || status.counts.total !== status.stages[1].records_out
    || !isDeepStrictEqual(onPage, status.counts.largest));
  const rejected = status.stages.reduce((all, stage) => all + stage.rejected, 0);
  assert.ok(rejected > 0, "the check needs dead letters");
  const kinds = await page.$$eval("#dead-kinds .num", (all) => all.map((n) => Number(n.textContent)));
  assert.equal(kinds.reduce((a, b) => a + b, 0), rejected);
  await page.locator("#dead-recent li").first().waitFor();
  const report = JSON.parse(await work.stop());
  assert.deepEqual(onPage, report.counts, "the report of `gristmill up` says otherwise");
  assert.deepEqual(onPage, work.counts(), "`gristmill counts` says otherwise");
  said(`${Object.keys(onPage).length} counts are those of status, up and counts; ${rejected} dead letters by reason`);
}

const work = await job(EVENTS, RATE);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
try {
  const page = await open(browser, work.page, { colorScheme: "light" });
  await page.locator("#graph .flows").first().waitFor();
  await page.locator("#chart polyline").first().waitFor({ state: "attached" });
  await keyboard(page);
  if (screenshot) await picture(page);
  await accessible(page, "desktop, light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page, "desktop, dark");
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  const moves = await page.evaluate(() => document.getAnimations().length);
  assert.equal(moves, 0, "it moves where less motion is asked for");
  await firstPaint(browser, work.page);
  await phone(browser, work.page);
  assert.deepEqual(wrong, [], "errors on the console");
  await counts(page, work);
  // From here on the browser itself complains that nobody answers.
  await page.locator("#connection.lost", { hasText: "The pipeline has ended" }).waitFor({ timeout: 10_000 });
  said("and it says that the pipeline has ended");
} finally {
  await browser.close();
  await work.stop();
  await work.clean();
}
