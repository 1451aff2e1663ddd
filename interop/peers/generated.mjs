// Makes and checks a client from an OpenAPI document: openapi-typescript generates the types, and the TypeScript
// compiler checks calls that are written against them.

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { check } from "./checks.mjs";

const folder = fileURLToPath(new URL(".", import.meta.url));
const COMPILER = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable"];

/** Runs a program of an installed package; its output is the error. */
function run(program, ...args) {
  try {
    execFileSync(process.execPath, [`node_modules/${program}`, ...args], { cwd: folder, stdio: "pipe" });
  } catch (error) {
    throw new Error(`${error.stdout ?? ""}${error.stderr ?? ""}` || error.message);
  }
}

/** Generates the types of a document as `TYPES.d.ts`, checks `CALLS.ts` against them, and loads the calls: two checks. */
export async function generated(document, types, calls) {
  await check("openapi-typescript: the types are generated", () => {
    // A member with a default may be left out of a request.
    const options = ["--default-non-nullable", "false", "-o", `${types}.d.ts`];
    run("openapi-typescript/bin/cli.js", document, ...options);
  });
  await check("tsc: the calls have the types of the document", () => {
    run("typescript/bin/tsc", ...COMPILER, "--noEmit", `${calls}.ts`);
  });
  run("typescript/bin/tsc", ...COMPILER, "--noCheck", "--outDir", "built", `${calls}.ts`);
  return import(`./built/${calls}.js`);
}
