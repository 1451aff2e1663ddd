// Node's own fetch against the server.

import assert from "node:assert/strict";
import { check, dropped, end, large, started, stats, url } from "./checks.mjs";

const json = (path, value, options = {}) =>
  fetch(`${url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(value),
    ...options,
  });

await check("node fetch: GET /ping", async () => {
  const reply = await fetch(`${url}/ping`);
  assert.equal(reply.status, 200);
  assert.equal(await reply.text(), "Hello from the server!\n");
});

await check("node fetch: POST /echo, 900 KiB each way", async () => {
  const sent = large();
  const reply = await fetch(`${url}/echo`, { method: "POST", body: sent });
  assert.equal(reply.status, 200);
  assert.ok(Buffer.from(await reply.arrayBuffer()).equals(Buffer.from(sent)), "bytes differ");
});

await check("node fetch: POST /echo, streamed body without a length", async () => {
  const sent = large();
  const body = new ReadableStream({
    start(controller) {
      for (let at = 0; at < sent.length; at += 65536) {
        controller.enqueue(sent.slice(at, at + 65536));
      }
      controller.close();
    },
  });
  const reply = await fetch(`${url}/echo`, { method: "POST", body, duplex: "half" });
  assert.equal(reply.status, 200);
  assert.ok(Buffer.from(await reply.arrayBuffer()).equals(Buffer.from(sent)), "bytes differ");
});

await check("node fetch: POST Greet, typed", async () => {
  const reply = await json("/greeter.v1/Greet", { name: "fetch" });
  assert.equal(reply.status, 200);
  assert.equal(reply.headers.get("content-type"), "application/json");
  assert.deepEqual(await reply.json(), { greeting: "Hello, fetch!" });
});

await check("node fetch: application error of Greet", async () => {
  const reply = await json("/greeter.v1/Greet", { name: "" });
  assert.equal(reply.status, 400);
  const error = await reply.json();
  assert.equal(error.code, "failed_precondition");
  assert.equal(reply.headers.get("rr-reason"), "app");
  assert.equal(error.details?.[0]?.type, "greeter.v1.NoName");
});

await check("node fetch: 20 calls at once", async () => {
  const names = Array.from({ length: 20 }, (_, index) => `number ${index}`);
  const greetings = await Promise.all(
    names.map(async (name) => (await json("/greeter.v1/Greet", { name })).json()),
  );
  assert.deepEqual(greetings, names.map((name) => ({ greeting: `Hello, ${name}!` })));
});

await check("node fetch: abort drops the handler", async () => {
  const before = await stats();
  const abort = new AbortController();
  const call = json("/demo/Sleep", { millis: 20000 }, { signal: abort.signal });
  const outcome = call.then(
    () => "an answer",
    (error) => error.name,
  );
  await started(before);
  abort.abort();
  assert.equal(await outcome, "AbortError");
  await dropped(before);
});

end();
