"""Python's httpx against the server: HTTP/1.1, HTTP/2 by prior knowledge, gzip request bodies."""

import asyncio
import gzip
import random
import sys
import time

import httpx

from checks import check, end, equal

JSON = {"content-type": "application/json"}
BODY_BYTES_MAX = 1024 * 1024 - 32 * 1024


def until(client, what, condition):
    """Reads the counters of Sleep until the condition holds, for 3 seconds at most."""
    seen = None
    for _ in range(60):
        seen = client.post("/demo/Stats", content=b"{}", headers=JSON).json()
        if condition(seen):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{what}: not seen within 3 s, stats are {seen}")


def checks(url, label, version, protocol):
    """All checks over one version of HTTP."""
    with httpx.Client(base_url=url, timeout=20, **protocol) as client:
        checks_of(client, label, version, protocol)


def checks_of(client, label, version, protocol):
    """All checks with one client."""

    def get_ping():
        reply = client.get("/ping")
        equal(reply.http_version, version, "version")
        equal((reply.status_code, reply.text), (200, "Hello from the server!\n"), "answer")

    def head_ping():
        reply = client.head("/ping")
        equal((reply.status_code, reply.content), (200, b""), "answer")

    def post_echo():
        body = random.Random(7).randbytes(900 * 1024)
        reply = client.post("/echo", content=body)
        equal((reply.status_code, reply.http_version), (200, version), "answer")
        equal(reply.content == body, True, "equality of the bytes")

    def streamed_echo():
        parts = [bytes([part]) * 50_000 for part in range(10)]
        reply = client.post("/echo", content=iter(parts))
        equal(reply.status_code, 200, "status")
        equal(reply.content == b"".join(parts), True, "equality of the bytes")

    def gzip_echo():
        body = b"squeezed " * 10_000
        headers = {"content-encoding": "gzip", "content-type": "text/plain"}
        reply = client.post("/echo", content=gzip.compress(body), headers=headers)
        equal(reply.status_code, 200, f"status (body {reply.text[:200]!r})")
        equal(reply.headers.get("content-encoding"), None, "content-encoding of the reply")
        equal(reply.content == body, True, "equality of the bytes")

    def gzip_typed():
        body = gzip.compress(b'{"name": "gzip"}')
        headers = JSON | {"content-encoding": "gzip"}
        reply = client.post("/greeter.v1/Greet", content=body, headers=headers)
        equal((reply.status_code, reply.json()), (200, {"greeting": "Hello, gzip!"}), "answer")

    def gzip_empty():
        reply = client.post("/echo", content=b"", headers={"content-encoding": "gzip"})
        equal((reply.status_code, reply.content), (200, b""), "answer")

    def gzip_bomb():
        body = gzip.compress(b"\0" * (64 * 1024 * 1024))
        equal(len(body) < BODY_BYTES_MAX, True, "a compressed body below the limit")
        reply = client.post("/echo", content=body, headers={"content-encoding": "gzip"})
        equal(reply.status_code, 413, "status")
        seen = reply.json()
        error = (seen["code"], reply.headers["rr-reason"])
        equal(error, ("resource_exhausted", "request-too-large"), "error")

    def greet():
        reply = client.post("/greeter.v1/Greet", json={"name": "httpx"})
        equal((reply.status_code, reply.json()), (200, {"greeting": "Hello, httpx!"}), "answer")

    def leave():
        before = client.post("/demo/Stats", content=b"{}", headers=JSON).json()
        # Over HTTP/2 httpx sends no RST_STREAM when a call times out; closing the client, and
        # with it the connection, is how the server learns that nobody waits any more.
        with httpx.Client(base_url=client.base_url, **protocol) as leaver:
            try:
                leaver.post("/demo/Sleep", json={"millis": 20_000}, timeout=0.4)
            except httpx.ReadTimeout:
                pass
            else:
                raise AssertionError("an answer in place of a timeout")
        now = until(client, "a dropped handler", lambda s: s["dropped"] == before["dropped"] + 1)
        equal(now["finished"], before["finished"], "number of finished handlers")

    for name, run in [
        ("GET /ping", get_ping),
        ("HEAD /ping", head_ping),
        ("POST /echo, 900 KiB each way", post_echo),
        ("POST /echo, streamed body without a length", streamed_echo),
        ("POST /echo, gzip request", gzip_echo),
        ("POST Greet, gzip request", gzip_typed),
        ("POST /echo, empty body said to be gzip", gzip_empty),
        ("POST /echo, gzip of 64 MiB is too large", gzip_bomb),
        ("POST Greet, typed", greet),
        ("a client that leaves drops the handler", leave),
        ("GET /ping after all that", get_ping),
    ]:
        check(f"httpx {label}: {name}", run)


def multiplexed(url):
    """Many calls at once over one HTTP/2 connection."""

    async def run():
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(
            base_url=url, http1=False, http2=True, limits=limits, timeout=20
        ) as client:
            # The first call opens the connection that the others share.
            await client.get("/ping")
            begin = time.monotonic()
            calls = [client.post("/demo/Sleep", json={"millis": 500}) for _ in range(20)]
            replies = await asyncio.gather(*calls)
            equal([reply.status_code for reply in replies], [200] * 20, "status of each")
            # One after the other they would take 10 seconds.
            equal(time.monotonic() - begin < 5, True, "done within 5 s")

    asyncio.run(run())


def main():
    """Runs every check against the URL on the command line."""
    url = sys.argv[1]
    checks(url, "h1", "HTTP/1.1", {})
    checks(url, "h2", "HTTP/2", {"http1": False, "http2": True})
    check("httpx h2: 20 calls at once on one connection", lambda: multiplexed(url))
    end()


if __name__ == "__main__":
    main()
