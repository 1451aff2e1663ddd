// The official Connect client for Node against the server: JSON, over HTTP/1.1 and HTTP/2.

import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import { check, dropped, end, large, started, stats, url } from "./checks.mjs";
import { files } from "./services.mjs";

/** Awaits the error of a call; an answer in its place fails the check. */
async function failure(call) {
  let answer;
  try {
    answer = await call;
  } catch (error) {
    assert.ok(error instanceof ConnectError, `not a ConnectError: ${error}`);
    return error;
  }
  throw new Error(`an answer in place of an error: ${JSON.stringify(answer)}`);
}

const isCode = (error, code) =>
  assert.equal(Code[error.code], Code[code], `code ${Code[error.code]}: ${error.rawMessage}`);

for (const httpVersion of ["1.1", "2"]) {
  const options = { baseUrl: url, httpVersion, useBinaryFormat: false };
  const transport = createConnectTransport(options);
  const greeter = createClient(files.getService("greeter.v1"), transport);
  const demo = createClient(files.getService("demo"), transport);
  const named = (name) => `connect ${httpVersion === "2" ? "h2" : "h1"}: ${name}`;

  await check(named("success"), async () => {
    const reply = await greeter.greet({ name: "Connect" });
    assert.equal(reply.greeting, "Hello, Connect!");
  });

  await check(named("success, 900 KiB each way"), async () => {
    const name = Buffer.from(large()).toString("base64").slice(0, 900 * 1024);
    const reply = await greeter.greet({ name });
    assert.ok(reply.greeting === `Hello, ${name}!`, "the greeting differs");
  });

  await check(named("success, gzip request"), async () => {
    const compressed = createConnectTransport({
      ...options,
      sendCompression: compressionGzip,
      compressMinBytes: 1,
    });
    const name = "x".repeat(5000);
    const reply = await createClient(files.getService("greeter.v1"), compressed).greet({ name });
    assert.equal(reply.greeting, `Hello, ${name}!`);
  });

  await check(named("success, Connect GET of a safe method"), async () => {
    const getting = createConnectTransport({ ...options, useHttpGet: true });
    const client = createClient(files.getService("demo"), getting);
    let cacheControl;
    const onHeader = (headers) => {
      cacheControl = headers.get("cache-control");
    };
    const reply = await client.stats({}, { onHeader });
    // The server says so on replies to GET alone; the client does not tell which verb it took.
    assert.equal(cacheControl, "no-store", "cache-control");
    assert.equal(typeof reply.started, "number");
  });

  await check(named("error with details"), async () => {
    const error = await failure(greeter.greet({ name: "" }));
    isCode(error, Code.FailedPrecondition);
    assert.equal(error.details.length, 1, "number of details");
    const [detail] = error.details;
    assert.equal(detail.type, "greeter.v1.NoName");
    const value = JSON.parse(Buffer.from(detail.value).toString("utf8"));
    assert.equal(typeof value.hint, "string", `detail is ${JSON.stringify(value)}`);
    assert.ok(value.hint.length > 0, "empty hint");
  });

  await check(named("unknown method is unimplemented"), async () => {
    isCode(await failure(greeter.missing({ name: "nobody" })), Code.Unimplemented);
  });

  await check(named("panic is internal"), async () => {
    isCode(await failure(demo.panic({})), Code.Internal);
  });

  await check(named("too large is resource_exhausted"), async () => {
    const error = await failure(greeter.greet({ name: "x".repeat(1_100_000) }));
    isCode(error, Code.ResourceExhausted);
  });

  await check(named("timeoutMs is deadline_exceeded and drops the handler"), async () => {
    const before = await stats();
    isCode(await failure(demo.sleep({ millis: 20000 }, { timeoutMs: 200 })), Code.DeadlineExceeded);
    await dropped(before);
  });

  await check(named("AbortSignal is canceled and drops the handler"), async () => {
    const before = await stats();
    const abort = new AbortController();
    const outcome = failure(demo.sleep({ millis: 20000 }, { signal: abort.signal }));
    await started(before);
    abort.abort();
    isCode(await outcome, Code.Canceled);
    await dropped(before);
  });

  await check(named("calls go on after all that"), async () => {
    const reply = await greeter.greet({ name: "again" });
    assert.equal(reply.greeting, "Hello, again!");
  });
}

end();
// An HTTP/2 session that is kept for reuse must not keep the process alive.
process.exit(0);
