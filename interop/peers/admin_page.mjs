// The admin page in Chromium, which this script drives through the DevTools protocol over a pipe:
// `admin_page.mjs URL BROWSER [FOLDER]`. With a folder, a picture of each view is written there.

import { equal } from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, end, url } from "./checks.mjs";

const [binary, folder] = process.argv.slice(3);
const profile = mkdtempSync(join(tmpdir(), "admin-page-"));
// The sandbox and the shared memory need rights that containers do not give.
const flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"];
const browser = spawn(
  binary,
  [...flags, "--no-first-run", "--remote-debugging-pipe", `--user-data-dir=${profile}`],
  { stdio: ["ignore", "ignore", "inherit", "pipe", "pipe"], env: { ...process.env, HOME: profile } },
);

const waiting = new Map();
const events = [];
let listener = () => {};
let buffered = "";
let last = 0;
browser.stdio[4].setEncoding("utf8");
browser.stdio[4].on("data", (chunk) => {
  const messages = (buffered + chunk).split("\0");
  buffered = messages.pop();
  messages.forEach((text) => receive(JSON.parse(text)));
});

function receive(message) {
  if (message.id === undefined) {
    events.push(message);
    listener();
    return;
  }
  const { resolve, reject } = waiting.get(message.id);
  waiting.delete(message.id);
  message.error ? reject(new Error(message.error.message)) : resolve(message.result);
}

let sessionId;

function send(method, params = {}) {
  const id = ++last;
  browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

/** Waits for the next event of this name, from this position of the list on. */
async function event(method, from) {
  for (;;) {
    const found = events.slice(from).find((event) => event.method === method);
    if (found) return found;
    await new Promise((resolve) => (listener = resolve));
  }
}

async function evaluate(expression) {
  const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.text);
  return result.value;
}

async function open(width, scheme) {
  const metrics = { width, height: 900, deviceScaleFactor: 1, mobile: false };
  await send("Emulation.setDeviceMetricsOverride", metrics);
  const features = [{ name: "prefers-color-scheme", value: scheme }];
  await send("Emulation.setEmulatedMedia", { features });
  const from = events.length;
  await send("Page.navigate", { url });
  await event("Page.loadEventFired", from);
  return from;
}

/** Elements that reach beyond the page, outside of the tables that scroll. */
const OVERFLOWING = `[...document.querySelectorAll("body *")]
  .filter((element) => !element.closest(".scroll table") && element.getClientRects().length > 0)
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map((element) => element.tagName + "." + element.getAttribute("class")).join()`;

async function picture(name) {
  if (!folder) return;
  const { data } = await send("Page.captureScreenshot", { captureBeyondViewport: true });
  writeFileSync(join(folder, `${name}.png`), data, "base64");
}

async function run() {
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  ({ sessionId } = await send("Target.attachToTarget", { targetId, flatten: true }));
  for (const domain of ["Page", "Network", "Log", "Runtime"]) await send(`${domain}.enable`);
  for (const [width, scheme] of [[400, "light"], [1280, "light"], [400, "dark"], [1280, "dark"]]) {
    const from = await open(width, scheme);
    await check(`chromium: the page fits ${width} pixels, ${scheme}`, async () => {
      equal(await evaluate("document.documentElement.scrollWidth <= innerWidth"), true, "fits");
      equal(await evaluate(OVERFLOWING), "", "elements that overflow");
      equal(await evaluate("document.querySelectorAll('details').length > 5"), true, "failures");
      equal(await evaluate("getComputedStyle(document.querySelector('.tiles')).display"), "grid", "style");
    });
    await check(`chromium: nothing else is requested at ${width} pixels, ${scheme}`, async () => {
      const requests = events.slice(from).filter((event) => event.method === "Network.requestWillBeSent");
      const urls = requests.map((event) => event.params.request.url).filter((at) => !at.startsWith("data:"));
      equal(urls.join(), url, "requests");
    });
    await picture(`${width}-${scheme}`);
  }
  await check("chromium: text of peers is no markup", async () => {
    equal(await evaluate("document.querySelectorAll('script, img, iframe').length"), 0, "elements");
    equal(await evaluate("document.title"), "rr: serving", "title");
    equal(await evaluate("document.body.textContent.includes('<script>document.title')"), true, "text");
  });
  await check("chromium: the link loads the page again", async () => {
    const from = events.length;
    const { root } = await send("DOM.getDocument");
    const { nodeId } = await send("DOM.querySelector", { nodeId: root.nodeId, selector: "nav a" });
    const { model } = await send("DOM.getBoxModel", { nodeId });
    const [x, y] = model.content;
    const button = { x: x + 5, y: y + 5, button: "left", clickCount: 1 };
    await send("Input.dispatchMouseEvent", { type: "mousePressed", ...button });
    await send("Input.dispatchMouseEvent", { type: "mouseReleased", ...button });
    await event("Page.loadEventFired", from);
    equal(await evaluate("location.href"), `${url}?`, "address");
  });
  await check("chromium: the console has no errors", async () => {
    const names = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
    const said = events.filter((event) => names.includes(event.method));
    equal(JSON.stringify(said.map((event) => event.params)), "[]", "messages");
  });
}

try {
  await run();
} finally {
  browser.kill();
  await new Promise((resolve) => browser.once("exit", resolve));
  rmSync(profile, { recursive: true, force: true });
}
end();
