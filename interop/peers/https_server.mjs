// A server of node:http2 over TLS that also speaks HTTP/1.1; /ping answers which version came. Prints where it serves.
// With the argument `mutual` it requires a certificate of its clients.

import { readFileSync } from "node:fs";
import * as http2 from "node:http2";

const file = (name) => readFileSync(`${process.env.RR_FOLDER}/${name}`);
const mutual = process.argv[2] === "mutual";
const server = http2.createSecureServer({
  allowHTTP1: true,
  cert: file("server.pem"),
  key: file("server.key"),
  ca: mutual ? file("roots.pem") : undefined,
  requestCert: mutual,
});
server.on("request", (request, reply) => {
  reply.setHeader("content-type", "text/plain");
  reply.end(`pong over HTTP/${request.httpVersion}`);
});
server.listen(0, "127.0.0.1", () => {
  console.log(`serving https://127.0.0.1:${server.address().port}`);
});
