// nats.js against the server, and its services client for discovery.

import assert from "node:assert/strict";
import { ServiceError, Svcm } from "@nats-io/services";
import { connect, headers } from "@nats-io/transport-node";
import { check, end, large, url } from "./checks.mjs";

const NO_RESPONDERS_MS_MAX = 50;

const nc = await connect({ servers: url });
const request = (target, body = "", options = {}) =>
  nc.request(`service.${target}`, body, { timeout: 5000, ...options });

const ping = async () => {
  const reply = await request("ping", "ping");
  assert.equal(reply.string(), "pong");
  assert.equal(reply.headers, undefined);
};

const withHeader = (name, value) => {
  const sent = headers();
  sent.set(name, value);
  return { headers: sent };
};

await check("nats.js: ping", ping);

await check("nats.js: foreign headers on a request", async () => {
  const reply = await request("ping", "ping", withHeader("X-Trace", "grün"));
  assert.equal(reply.string(), "pong");
});

await check("nats.js: echo of 900 KiB", async () => {
  const sent = large();
  const reply = await request("echo", sent);
  assert.ok(Buffer.from(reply.data).equals(Buffer.from(sent)), "bytes differ");
});

await check("nats.js: 200 calls at once", async () => {
  const bodies = Array.from({ length: 200 }, (_, index) => `body ${index}`);
  const replies = await Promise.all(bodies.map((body) => request("echo", body)));
  assert.deepEqual(replies.map((reply) => reply.string()), bodies);
});

await check("nats.js: an error with its headers", async () => {
  const reply = await request("fail");
  assert.ok(ServiceError.isServiceError(reply), "no service error");
  const error = ServiceError.toServiceError(reply);
  assert.equal(error.code, 404);
  assert.equal(error.message, "no such thing");
  assert.equal(reply.headers.get("rr-code"), "not_found");
  assert.equal(reply.headers.get("rr-delivery"), "processed");
  assert.equal(reply.headers.get("x-detail"), "7");
  assert.equal(reply.json().code, "not_found");
});

await check("nats.js: a panicking handler", async () => {
  const reply = await request("panic");
  assert.equal(ServiceError.toServiceError(reply)?.code, 500);
  assert.equal(reply.headers.get("rr-reason"), "panic");
  await ping();
});

await check("nats.js: a typed call", async () => {
  const reply = await request("sleep", JSON.stringify({ millis: 20 }));
  assert.ok(!ServiceError.isServiceError(reply), String(ServiceError.toServiceError(reply)));
});

await check("nats.js: a deadline of 150 ms on a handler of 5 s", async () => {
  const begin = performance.now();
  const reply = await request("sleep", JSON.stringify({ millis: 5000 }), withHeader("rr", "t=150"));
  assert.ok(performance.now() - begin < 2000, "not answered at the deadline");
  assert.equal(ServiceError.toServiceError(reply)?.code, 504);
  assert.equal(reply.headers.get("rr-code"), "deadline_exceeded");
});

// The fastest of three, because this machine may be busy with other things.
for (const subject of ["nobody.here", "service.nothing"]) {
  await check(`nats.js: no responders at ${subject}`, async () => {
    const took = [];
    for (let round = 0; round < 3; round += 1) {
      const begin = performance.now();
      const name = await nc.request(subject, "", { timeout: 2000 }).then(
        (reply) => `an answer, ${reply.string()}`,
        (error) => (error.isNoResponders?.() ? "no responders" : `${error.name}: ${error.message}`),
      );
      took.push(performance.now() - begin);
      assert.equal(name, "no responders");
    }
    assert.ok(Math.min(...took) < NO_RESPONDERS_MS_MAX, `took ${took} ms`);
  });
}

const client = new Svcm(nc).client({ maxWait: 500, strategy: "stall" });

async function all(answers) {
  const seen = [];
  for await (const answer of await answers) seen.push(answer);
  return seen;
}

function endpoint(services, subject) {
  const endpoints = services.flatMap((service) => service.endpoints);
  const found = endpoints.filter((each) => each.subject === subject);
  assert.equal(found.length, 1, `${subject} in ${JSON.stringify(endpoints)}`);
  return found[0];
}

await check("nats.js: $SRV.PING by the services client", async () => {
  const services = await all(client.ping());
  assert.ok(services.length > 0, "no answer");
  for (const { name, id, type, version } of services) {
    assert.equal(type, "io.nats.micro.v1.ping_response");
    assert.match(version, /^\d+\.\d+\.\d+/);
    assert.ok((await all(client.ping(name))).some((each) => each.id === id), `none named ${name}`);
    assert.deepEqual((await all(client.ping(name, id))).map((each) => each.id), [id]);
  }
});

await check("nats.js: $SRV.INFO by the services client", async () => {
  const services = await all(client.info());
  assert.equal(endpoint(services, "service.ping").queue_group, "q");
  for (const { name, id, type, description } of services) {
    assert.equal(type, "io.nats.micro.v1.info_response");
    assert.equal(typeof description, "string");
    assert.deepEqual((await all(client.info(name, id))).map((each) => each.id), [id]);
  }
});

await check("nats.js: $SRV.STATS by the services client", async () => {
  const before = await all(client.stats());
  await ping();
  await request("fail");
  const after = await all(client.stats());
  const grown = (subject, member) =>
    endpoint(after, subject)[member] - endpoint(before, subject)[member];
  assert.equal(grown("service.ping", "num_requests"), 1);
  assert.equal(grown("service.ping", "num_errors"), 0);
  assert.equal(grown("service.fail", "num_requests"), 1);
  assert.equal(grown("service.fail", "num_errors"), 1);
  for (const { name, id, type, started } of after) {
    assert.equal(type, "io.nats.micro.v1.stats_response");
    assert.ok(Number.isFinite(Date.parse(started)), `started ${started}`);
    assert.deepEqual((await all(client.stats(name, id))).map((each) => each.id), [id]);
  }
});

await nc.close();
end();
