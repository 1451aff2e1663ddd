// Node's clients against the server over TLS: fetch, node:https, node:http2 and Connect. The second URL is of a server
// that requires a certificate of its clients. NODE_EXTRA_CA_CERTS names the authority for fetch, which takes no other.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as http2 from "node:http2";
import * as https from "node:https";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { check, end, large, url } from "./checks.mjs";
import { files } from "./services.mjs";

const mutual = process.argv[3];
const file = (name) => readFileSync(`${process.env.RR_FOLDER}/${name}`);
const ca = file("roots.pem");
const own = { cert: file("client.pem"), key: file("client.key") };
const HELLO = "Hello from the server!\n";

/** GETs /ping by node:https. */
const ping = (base, options) =>
  new Promise((resolve, reject) => {
    https
      .get(`${base}/ping`, { agent: false, ...options }, (reply) => {
        let text = "";
        reply.setEncoding("utf8").on("data", (part) => (text += part));
        reply.on("end", () => resolve({ text, version: reply.httpVersion }));
        reply.on("error", reject);
      })
      .on("error", reject);
  });

/** POSTs bytes to /echo by node:http2, and returns the bytes and the protocol that was negotiated. */
const echo = (bytes) =>
  new Promise((resolve, reject) => {
    const session = http2.connect(url, { ca });
    session.on("error", reject);
    const stream = session.request({ ":method": "POST", ":path": "/echo" });
    const parts = [];
    stream.on("data", (part) => parts.push(part));
    stream.on("error", reject);
    stream.on("end", () => {
      resolve({ body: Buffer.concat(parts), protocol: session.alpnProtocol });
      session.close();
    });
    stream.end(bytes);
  });

const failure = (promise) =>
  promise.then(
    (reply) => assert.fail(`an answer: ${JSON.stringify(reply)}`),
    (error) => error,
  );

await check("node fetch over TLS: GET /ping", async () => {
  const reply = await fetch(`${url}/ping`);
  assert.equal(await reply.text(), HELLO);
});

await check("node:https: GET /ping over HTTP/1.1", async () => {
  assert.deepEqual(await ping(url, { ca }), { text: HELLO, version: "1.1" });
});

await check("node:http2: POST /echo, 900 KiB each way, by ALPN", async () => {
  const sent = Buffer.from(large());
  const { body, protocol } = await echo(sent);
  assert.equal(protocol, "h2");
  assert.ok(body.equals(sent), "bytes differ");
});

for (const httpVersion of ["1.1", "2"]) {
  await check(`node connect over TLS, HTTP/${httpVersion}: typed call`, async () => {
    const options = { baseUrl: url, httpVersion, useBinaryFormat: false, nodeOptions: { ca } };
    const greeter = createClient(files.getService("greeter.v1"), createConnectTransport(options));
    assert.equal((await greeter.greet({ name: "tls" })).greeting, "Hello, tls!");
  });
}

await check("node:https: another authority is not enough", async () => {
  const error = await failure(ping(url, { ca: file("other.pem") }));
  assert.match(error.code, /SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/);
});

await check("node:https: a client certificate is accepted", async () => {
  assert.equal((await ping(mutual, { ca, ...own })).text, HELLO);
});

await check("node:https: without a client certificate the server refuses", async () => {
  const error = await failure(ping(mutual, { ca }));
  assert.match(`${error.code} ${error.message}`, /CERTIFICATE_REQUIRED|certificate required|ECONNRESET/i);
});

end();
process.exit(0);
