// A client that is generated from an OpenAPI document: node openapi_client.mjs URL DOCUMENT.
// openapi-typescript makes the types, the TypeScript compiler checks the calls in openapi_calls.ts, and they call the
// service.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { check, end, url } from "./checks.mjs";

const folder = fileURLToPath(new URL(".", import.meta.url));

/** Runs a program of an installed package; its output is the error. */
function run(program, ...args) {
  try {
    execFileSync(process.execPath, [`node_modules/${program}`, ...args], { cwd: folder, stdio: "pipe" });
  } catch (error) {
    throw new Error(`${error.stdout ?? ""}${error.stderr ?? ""}` || error.message);
  }
}

await check("openapi-typescript: the types are generated", () => {
  // A member with a default may be left out of a request.
  const options = ["--default-non-nullable", "false", "-o", "catalog.d.ts"];
  run("openapi-typescript/bin/cli.js", process.argv[3], ...options);
});

const COMPILER = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable"];

await check("tsc: the calls have the types of the document", () => {
  run("typescript/bin/tsc", ...COMPILER, "--noEmit", "openapi_calls.ts");
});

run("typescript/bin/tsc", ...COMPILER, "--noCheck", "--outDir", "built", "openapi_calls.ts");
const { calls, missingBook } = await import("./built/openapi_calls.js");
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
