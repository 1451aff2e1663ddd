// A client that is generated from an OpenAPI document: node openapi_client.mjs URL DOCUMENT.
// openapi-typescript makes the types, the TypeScript compiler checks the calls in openapi_calls.ts, and they call the
// service.

import assert from "node:assert/strict";

import { check, end, url } from "./checks.mjs";
import { generated } from "./generated.mjs";

const { calls, missingBook } = await generated(process.argv[3], "catalog", "openapi_calls");
const catalog = calls(url);

await check("openapi-fetch: a keyed call with its headers", async () => {
  assert.deepEqual(await catalog.add("Ducks & Geese", '"key-1"'), { id: 1, dedup: null });
  assert.equal((await catalog.add("Ducks", "key-2")).id, 2);
});

await check("openapi-fetch: a reply", async () => {
  const book = await catalog.find(1);
  const volumes = [{ kind: "printed", pages: 9 }];
  assert.deepEqual(book, { title: "Ducks & Geese", authors: ["Anon"], cents: null, volumes });
});

await check("openapi-fetch: a GET of a safe method", async () => {
  const { book, error, method } = await catalog.findByGet(2);
  assert.deepEqual([book?.title, error, method], ["Ducks", undefined, "GET"]);
});

await check("openapi-fetch: a GET with several arguments", async () => {
  assert.deepEqual(await catalog.searchByGet("Ducks"), ["Ducks & Geese", "Ducks"]);
  assert.deepEqual(await catalog.searchByGet("& G", 7), ["Ducks & Geese"]);
  assert.deepEqual(await catalog.search("Ducks", 1), ["Ducks & Geese"]);
  assert.deepEqual(await catalog.search("Ducks", null), ["Ducks & Geese", "Ducks"]);
});

await check("openapi-fetch: an application error is typed", async () => {
  const { book, error } = await catalog.findByGet(17);
  assert.equal(book, undefined);
  assert.equal(error?.code, "failed_precondition");
  assert.equal(missingBook(error), 17);
});

await check("openapi-fetch: an application error without members", async () => {
  const error = await catalog.refused();
  assert.deepEqual([error?.details?.[0].type, error?.details?.[0].debug], ["catalog.CatalogError", "untitled"]);
});

await check("openapi-fetch: an alias", async () => {
  assert.equal((await catalog.alias(2))?.title, "Ducks");
});

await check("openapi-fetch: a method without arguments", async () => {
  assert.equal(await catalog.clear(), 200);
  assert.deepEqual(await catalog.search("", null), []);
});

end();
