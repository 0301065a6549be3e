// The real binary at work: a stream of generated events, and a pipeline that counts them.

import { spawn, execFileSync } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../..");
const binary = process.env.GRISTMILL ?? join(root, "target/release/gristmill");

/** A process, and the first match of `says` in what it says. */
function start(args, env, says) {
  const child = spawn(binary, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
  let heard = "";
  const output = [];
  const ready = new Promise((resolve, reject) => {
    const hear = (line) => {
      heard += `${line}\n`;
      const found = says.exec(line);
      if (found) resolve(found[1]);
    };
    createInterface({ input: child.stderr }).on("line", hear);
    createInterface({ input: child.stdout }).on("line", (line) => {
      output.push(line);
      hear(line);
    });
    child.on("exit", (code) => reject(new Error(`gristmill ${args[0]} ended with ${code}:\n${heard}`)));
  });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    return output.join("\n");
  };
  return { ready, stop };
}

/** Serve `events`, and count them with the shipped pipeline, embedded. */
export async function job(events, rate) {
  const dir = mkdtempSync(join(tmpdir(), "gristmill-page-"));
  const env = { ...process.env, GRISTMILL_STATE_DIR: join(dir, "state"), NO_COLOR: "1" };
  const stream = start(["replay", "--generate", String(events), "--rate", String(rate), "--stamp",
    "--malformed-every", "150", "--listen", "127.0.0.1:0"], env, /(http:\/\/127\.0\.0\.1:\d+\S*)/);
  const url = await stream.ready;
  const store = `--local=${join(dir, "store")}`;
  const file = ["--file", "pipeline.yaml", "--set", `connectors.recentchange.sse.url=${url}`];
  const up = start(["up", ...file, store, "--listen", "127.0.0.1:0", "--json"], env, /page on (http:\/\/\S+?\/),/);
  const ask = (...args) => execFileSync(binary, args, { cwd: root, env }).toString();
  return {
    page: await up.ready,
    status: () => JSON.parse(ask("status", "--json")),
    stop: up.stop,
    counts: () => JSON.parse(ask("counts", "--json", ...file, store)),
    async clean() {
      await stream.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
