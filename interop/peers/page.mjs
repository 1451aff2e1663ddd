// A web page's calls to a server of another origin: with fetch, and with the official Connect client
// for browsers. Each line of the outcome goes to the server of the page.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { files } from "./services.mjs";

const query = new URLSearchParams(location.search);
const url = query.get("url");

async function say(line) {
  await fetch("/said", { method: "POST", body: line });
}

async function check(name, run) {
  let line = `ok      ${name}`;
  try {
    await run();
  } catch (error) {
    line = `FAILED  ${name}: ${String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 400)}`;
  }
  await say(line);
}

function equal(seen, expected, what) {
  if (seen !== expected) {
    throw new Error(`${what}: ${JSON.stringify(seen)}, not ${JSON.stringify(expected)}`);
  }
}

/** Awaits the error of a call; an answer in its place fails the check. */
async function failure(call) {
  let answer;
  try {
    answer = await call;
  } catch (error) {
    return error;
  }
  throw new Error(`an answer in place of an error: ${answer}`);
}

const headers = { "content-type": "application/json", "connect-protocol-version": "1" };

const post = (path, value, options = {}) =>
  fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(value), ...options });

const transport = createConnectTransport({ baseUrl: url });
const greeter = createClient(files.getService("greeter.v1"), transport);
const demo = createClient(files.getService("demo"), transport);

async function allowed() {
  await check("fetch: success, with headers of the application both ways", async () => {
    const reply = await post("/echo", { a: 1 }, { headers: { ...headers, "x-tenant": "7" } });
    equal(reply.status, 200, "status");
    equal(reply.headers.get("x-tenant"), "7", "x-tenant");
    equal(await reply.text(), '{"a":1}', "body");
  });
  await check("fetch: GET of a safe method, without a preflight", async () => {
    equal(await (await fetch(`${url}/ping`)).text(), "Hello from the server!\n", "body");
  });
  await check("fetch: error with its headers and details", async () => {
    const reply = await post("/greeter.v1/Greet", { name: "" });
    equal(reply.status, 400, "status");
    equal(reply.headers.get("rr-reason"), "app", "rr-reason");
    const [detail] = (await reply.json()).details;
    equal(detail.type, "greeter.v1.NoName", "type");
    equal(detail.debug.hint, "say who you are", "debug");
    equal(JSON.parse(atob(detail.value)).hint, "say who you are", "value");
  });
  await check("fetch: an unknown target is a readable 404", async () => {
    const reply = await post("/nobody/home", {});
    equal(reply.status, 404, "status");
    equal((await reply.json()).code, "unimplemented", "code");
  });
  await check("fetch: a call with cookies is blocked", async () => {
    const error = await failure(post("/echo", {}, { credentials: "include" }));
    equal(error.name, "TypeError", "error");
  });
  await check("connect-web: success", async () => {
    equal((await greeter.greet({ name: "Web" })).greeting, "Hello, Web!", "greeting");
  });
  await check("connect-web: error with details and metadata", async () => {
    const error = await failure(greeter.greet({ name: "" }));
    equal(error.code, Code.FailedPrecondition, "code");
    equal(error.metadata.get("rr-reason"), "app", "rr-reason");
    const [detail] = error.details;
    equal(detail.type, "greeter.v1.NoName", "type");
    equal(detail.debug.hint, "say who you are", "debug");
    equal(JSON.parse(new TextDecoder().decode(detail.value)).hint, "say who you are", "value");
  });
  await check("connect-web: unknown method is unimplemented", async () => {
    equal((await failure(greeter.missing({ name: "x" }))).code, Code.Unimplemented, "code");
  });
  await check("connect-web: Connect GET of a safe method", async () => {
    const getting = createConnectTransport({ baseUrl: url, useHttpGet: true });
    const reply = await createClient(files.getService("demo"), getting).stats({});
    equal(typeof reply.started, "number", "started");
  });
  await check("connect-web: timeoutMs is deadline_exceeded", async () => {
    const error = await failure(demo.sleep({ millis: 20000 }, { timeoutMs: 200 }));
    equal(error.code, Code.DeadlineExceeded, "code");
  });
  await check("connect-web: AbortSignal is canceled and drops the handler", async () => {
    const before = await demo.stats({});
    const abort = new AbortController();
    const outcome = failure(demo.sleep({ millis: 20000 }, { signal: abort.signal }));
    while ((await demo.stats({})).started === before.started);
    abort.abort();
    equal((await outcome).code, Code.Canceled, "code");
    while ((await demo.stats({})).dropped === before.dropped);
  });
}

async function stranger() {
  await check("a stranger's fetch with a preflight is blocked", async () => {
    equal((await failure(post("/echo", {}))).name, "TypeError", "error");
  });
  await check("a stranger's GET without a preflight is not readable", async () => {
    equal((await failure(fetch(`${url}/ping`))).name, "TypeError", "error");
  });
  await check("a stranger's connect-web call fails", async () => {
    const error = await failure(greeter.greet({ name: "Web" }));
    equal(error instanceof ConnectError, true, "a ConnectError");
    equal(error.code, Code.Unknown, "code");
  });
  // What was blocked above was blocked for its origin: the server is there.
  await check("a stranger reaches the server, whose reply is opaque", async () => {
    equal((await fetch(`${url}/ping`, { mode: "no-cors" })).type, "opaque", "type");
  });
}

await (query.has("stranger") ? stranger() : allowed());
await say("end");
