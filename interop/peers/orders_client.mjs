// The example `orders`, called by a client that is generated from its OpenAPI document: node orders_client.mjs URL DOCUMENT.

import assert from "node:assert/strict";

import { check, end, url } from "./checks.mjs";
import { generated } from "./generated.mjs";

const { calls, left } = await generated(process.argv[3], "orders", "orders_calls");
const orders = calls(url, "Bearer demo", "ghent");

await check("openapi-fetch: a keyed call and a header of its reply", async () => {
  const { receipt, stock } = await orders.place({ item: "tea", count: 2 });
  assert.deepEqual([receipt, stock], [{ id: 1, payment: "payment of 500 cents" }, "98"]);
});

await check("openapi-fetch: a GET of the caller's tenant", async () => {
  assert.deepEqual((await orders.get(1)).order, { item: "tea", count: 2 });
  const other = await calls(url, "Bearer demo", "berlin").get(1);
  assert.deepEqual([other.order, other.error?.code], [undefined, "not_found"]);
});

await check("openapi-fetch: an idempotent call without a reply", async () => {
  assert.deepEqual(await orders.cancel(1), {});
  assert.equal((await orders.get(1)).error?.code, "not_found");
});

await check("openapi-fetch: an application error is typed", async () => {
  const { error } = await orders.place({ item: "tea", count: 999 });
  assert.equal(error?.code, "failed_precondition");
  assert.equal(left(error), 100);
});

await check("openapi-fetch: a call without the token", async () => {
  const { receipt, error } = await calls(url, "none", "ghent").place({ item: "tea", count: 1 });
  assert.deepEqual([receipt, error?.code], [undefined, "unauthenticated"]);
});

await check("openapi-fetch: raw bytes both ways", async () => {
  assert.equal(await orders.stamp("label"), "PAID label");
});

end();
