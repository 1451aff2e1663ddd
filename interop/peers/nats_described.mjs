// The services client of nats.js reads the descriptions of a service: node nats_described.mjs nats://HOST:PORT.

import assert from "node:assert/strict";
import { Svcm } from "@nats-io/services";
import { connect } from "@nats-io/transport-node";
import { check, end, url } from "./checks.mjs";

const nc = await connect({ servers: url });

await check("nats.js: descriptions in $SRV.INFO by the services client", async () => {
  const found = [];
  for await (const info of await new Svcm(nc).client().info("catalog-v1")) found.push(info);
  assert.equal(found.length, 1, JSON.stringify(found));
  assert.equal(found[0].description, "Catalogue of books.");
  const { metadata } = found[0].endpoints.find(({ name }) => name === "add");
  assert.equal(metadata["rr-idempotency"], "keyed");
  assert.deepEqual(JSON.parse(metadata["rr-input"]).$defs.Book.required, ["title", "authors"]);
});

await nc.close();
end();
