// What the Node peers share: one printed line per check, and the counters of /demo/Stats.

import assert from "node:assert/strict";

export const url = process.argv[2];
if (!url) {
  console.error("usage: node SCRIPT URL");
  process.exit(2);
}

const oneLine = (error) => String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 400);

/** Runs one check and prints `ok NAME` or `FAILED NAME: what was seen`. */
export async function check(name, run) {
  try {
    await run();
    console.log(`ok      ${name}`);
  } catch (error) {
    console.log(`FAILED  ${name}: ${oneLine(error)}`);
  }
}

/** Tells the caller that the script reached its end; a script that dies early never says so. */
export function end() {
  console.log("end");
}

/** Reads the counters of the server's Sleep method. */
export async function stats() {
  const reply = await fetch(`${url}/demo/Stats`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  assert.equal(reply.status, 200, `/demo/Stats answered ${reply.status}`);
  return reply.json();
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function until(what, condition) {
  let seen;
  for (let round = 0; round < 60; round += 1) {
    seen = await stats();
    if (condition(seen)) return seen;
    await pause(50);
  }
  throw new Error(`${what}: not seen within 3 s, stats are ${JSON.stringify(seen)}`);
}

/** Waits until one more Sleep than in `before` has started. */
export const started = (before) =>
  until("a handler that started", (now) => now.started === before.started + 1);

/** Waits until exactly one more Sleep than in `before` was dropped, and none finished. */
export const dropped = (before) =>
  until("a dropped handler", (now) => now.dropped === before.dropped + 1).then((now) =>
    assert.equal(now.finished, before.finished, "the handler finished although it was dropped"),
  );

/** 900 KiB that do not repeat within a block of the transport. */
export function large() {
  const bytes = new Uint8Array(900 * 1024);
  let state = 1;
  for (let index = 0; index < bytes.length; index += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[index] = state >>> 16;
  }
  return bytes;
}
