// A service of nats.js for our client to call: node nats_responder.mjs nats://HOST:PORT
//
// It answers `SCRIPT.service.ping` by SCRIPT: `ok`, `silent` (never answers), or a number, which
// becomes the error's code. Our client names the script as the path of its URL.

import { Svcm } from "@nats-io/services";
import { connect, headers } from "@nats-io/transport-node";

const codes = [400, 404, 409, 429, 500, 503];

const url = process.argv[2];
const nc = await connect({ servers: url });
const service = await new Svcm(nc).add({ name: "scripted-node", version: "1.0.0" });

const answer = (script, handler) =>
  service.addEndpoint(`script-${script}`, { subject: `${script}.service.ping`, handler });

answer("ok", (_, message) => message.respond("pong from node"));
answer("silent", () => {});
for (const code of codes) {
  answer(code, (_, message) => {
    const extra = headers();
    extra.set("x-peer", "nats.js");
    message.respondError(code, `scripted ${code}`, "", { headers: extra });
  });
}
await nc.flush();
console.log(`serving ${url}`);
await nc.closed();
