"""nats-py against the server: nats_client.py nats://HOST:PORT."""

import asyncio
import json
import random
import re
import sys
import time

from nats.errors import NoRespondersError

from checks import check, end, equal
from nats_connect import connect

BODY_BYTES_MAX = 1024 * 1024 - 32 * 1024
NO_RESPONDERS_SECONDS_MAX = 0.05
MICRO_NAME = re.compile(r"[A-Za-z0-9_-]+")
SEMANTIC_VERSION = re.compile(r"\d+\.\d+\.\d+([-+].*)?")
# RFC 3339 in UTC, with any fraction.
STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def header(reply, name, value):
    """Raises unless a header of the reply has this value."""
    equal((reply.headers or {}).get(name), value, f"{name} of {reply.headers}, {reply.data[:200]}")


async def ping(nc):
    reply = await nc.request("service.ping", b"ping", timeout=2)
    equal((reply.data, reply.headers), (b"pong", None), "answer")


async def ping_with_foreign_headers(nc):
    headers = {"X-Trace": "grün", "under_score": "dropped", "Nats-Msg-Id": "7"}
    reply = await nc.request("service.ping", b"ping", timeout=2, headers=headers)
    equal(reply.data, b"pong", "answer")


async def echo(nc, size):
    body = random.Random(7).randbytes(size)
    reply = await nc.request("service.echo", body, timeout=5)
    equal(reply.data == body, True, f"equality of the bytes, headers {reply.headers}")
    equal(reply.headers, None, "headers")


async def many(nc):
    bodies = [f"body {number}".encode() for number in range(200)]
    calls = [nc.request("service.echo", body, timeout=5) for body in bodies]
    replies = await asyncio.gather(*calls)
    equal([reply.data for reply in replies] == bodies, True, "each answer to its own call")


async def fail(nc):
    reply = await nc.request("service.fail", b"", timeout=2)
    header(reply, "Nats-Service-Error", "no such thing")
    header(reply, "Nats-Service-Error-Code", "404")
    header(reply, "rr-code", "not_found")
    header(reply, "rr-delivery", "processed")
    header(reply, "x-detail", "7")
    document = json.loads(reply.data)
    equal((document["code"], document["message"]), ("not_found", "no such thing"), "document")


async def panic(nc):
    reply = await nc.request("service.panic", b"", timeout=2)
    header(reply, "Nats-Service-Error-Code", "500")
    header(reply, "rr-code", "internal")
    header(reply, "rr-reason", "panic")
    equal(b".rs" in reply.data, False, f"a source file in {reply.data}")
    await ping(nc)


async def sleep(nc):
    begin = time.monotonic()
    reply = await nc.request("service.sleep", b'{"millis":200}', timeout=5)
    equal("Nats-Service-Error" in (reply.headers or {}), False, f"an error: {reply.headers}")
    equal(time.monotonic() - begin >= 0.19, True, "the handler waited")


async def malformed_json(nc):
    reply = await nc.request("service.sleep", b'{"millis":', timeout=2)
    header(reply, "Nats-Service-Error-Code", "400")
    header(reply, "rr-code", "invalid_argument")
    header(reply, "rr-reason", "decode")


async def deadline(nc):
    begin = time.monotonic()
    headers = {"rr": "t=150"}
    reply = await nc.request("service.sleep", b'{"millis":5000}', timeout=4, headers=headers)
    equal(time.monotonic() - begin < 2, True, "answered at the deadline")
    header(reply, "Nats-Service-Error-Code", "504")
    header(reply, "rr-code", "deadline_exceeded")


async def malformed_call_header(nc):
    reply = await nc.request("service.ping", b"", timeout=2, headers={"rr": "t=soon"})
    header(reply, "Nats-Service-Error-Code", "400")
    header(reply, "rr-code", "invalid_argument")
    header(reply, "rr-delivery", "rejected")


async def nobody(nc, subject):
    """The fastest of three, because this machine may be busy with other things."""
    took = []
    for _ in range(3):
        begin = time.monotonic()
        try:
            reply = await nc.request(subject, b"", timeout=2)
        except NoRespondersError:
            took.append(time.monotonic() - begin)
        else:
            raise AssertionError(f"an answer: {reply.headers} {reply.data}")
    equal(min(took) < NO_RESPONDERS_SECONDS_MAX, True, f"under 50 ms: {took}")


async def ask(nc, subject):
    """What every instance answers within 300 ms."""
    inbox = nc.new_inbox()
    answers = []

    async def add(message):
        answers.append(json.loads(message.data))

    subscription = await nc.subscribe(inbox, cb=add)
    await nc.publish(subject, b"", reply=inbox)
    await asyncio.sleep(0.3)
    await subscription.unsubscribe()
    return answers


async def discover(nc, verb):
    """Asks all, then by name, then by name and id; returns the service with `service.ping`."""
    answers = await ask(nc, f"$SRV.{verb}")
    equal(len(answers) > 0, True, "an answer")
    for answer in answers:
        equal(answer["type"], f"io.nats.micro.v1.{verb.lower()}_response", "type")
        equal(MICRO_NAME.fullmatch(answer["name"]) is not None, True, f"a name: {answer}")
        equal(bool(answer["id"]), True, "an id")
        equal(SEMANTIC_VERSION.fullmatch(answer["version"]) is not None, True, f"{answer}")
        equal(isinstance(answer.get("metadata") or {}, dict), True, f"metadata: {answer}")
        name, instance = answer["name"], answer["id"]
        named = await ask(nc, f"$SRV.{verb}.{name}")
        equal(instance in [each["id"] for each in named], True, f"an answer by name: {named}")
        identified = await ask(nc, f"$SRV.{verb}.{name}.{instance}")
        equal([each["id"] for each in identified], [instance], "answers by id")
    if verb == "PING":
        return None
    return endpoint(answers, "service.ping"), endpoint(answers, "service.fail"), answers


def endpoint(answers, subject):
    endpoints = [each for answer in answers for each in answer["endpoints"]]
    found = [each for each in endpoints if each["subject"] == subject]
    equal(len(found), 1, f"number of endpoints at {subject} in {endpoints}")
    return found[0]


async def info(nc):
    found, _, answers = await discover(nc, "INFO")
    equal(found["queue_group"], "q", "queue group")
    equal(MICRO_NAME.fullmatch(found["name"]) is not None, True, f"an endpoint's name: {found}")
    equal(all(isinstance(each["description"], str) for each in answers), True, "descriptions")


async def stats(nc):
    ping_before, fail_before, answers = await discover(nc, "STATS")
    equal([STARTED.fullmatch(each["started"]) is None for each in answers].count(True), 0, answers)
    await ping(nc)
    await fail(nc)
    ping_after, fail_after, _ = await discover(nc, "STATS")
    equal(ping_after["num_requests"], ping_before["num_requests"] + 1, "requests of ping")
    equal(fail_after["num_requests"], fail_before["num_requests"] + 1, "requests of fail")
    equal(ping_after["num_errors"], ping_before["num_errors"], "errors of ping")
    equal(fail_after["num_errors"], fail_before["num_errors"] + 1, "errors of fail")
    equal(isinstance(fail_after.get("last_error") or "", str), True, f"last error: {fail_after}")
    for member in ("processing_time", "average_processing_time"):
        equal(isinstance(ping_after[member], int), True, f"{member} in ns: {ping_after}")


async def queue_group(nc, url):
    """A member in Python and the server share the group; each request has one of them."""
    member = await connect(url)

    async def answer(message):
        await message.respond(b"pong from python")

    await member.subscribe("service.ping", queue="q", cb=answer)
    await member.flush()
    calls = [nc.request("service.ping", b"ping", timeout=5) for _ in range(200)]
    bodies = [reply.data for reply in await asyncio.gather(*calls)]
    theirs, ours = bodies.count(b"pong from python"), bodies.count(b"pong")
    await member.drain()
    equal(theirs + ours, 200, f"answers ({theirs} by python, {ours} by the server)")
    equal(theirs > 0 and ours > 0, True, f"{theirs} by python, {ours} by the server")
    # The member drained: all requests go to the server again.
    bodies = [(await nc.request("service.ping", b"ping", timeout=2)).data for _ in range(20)]
    equal(bodies, [b"pong"] * 20, "answers after the member left")


def checks(loop, nc, url):
    for name, run in [
        ("ping", lambda: ping(nc)),
        ("foreign headers on a request", lambda: ping_with_foreign_headers(nc)),
        ("echo of nothing", lambda: echo(nc, 0)),
        ("echo of one byte", lambda: echo(nc, 1)),
        ("echo of 900 KiB", lambda: echo(nc, 900 * 1024)),
        ("echo of the longest body", lambda: echo(nc, BODY_BYTES_MAX)),
        ("200 calls at once", lambda: many(nc)),
        ("an error with its headers", lambda: fail(nc)),
        ("a panicking handler", lambda: panic(nc)),
        ("a typed call", lambda: sleep(nc)),
        ("malformed JSON", lambda: malformed_json(nc)),
        ("a deadline of 150 ms on a handler of 5 s", lambda: deadline(nc)),
        ("malformed rr header", lambda: malformed_call_header(nc)),
        ("no responders", lambda: nobody(nc, "nobody.here")),
        ("no responders at an unknown target", lambda: nobody(nc, "service.nothing")),
        ("$SRV.PING", lambda: discover(nc, "PING")),
        ("$SRV.INFO", lambda: info(nc)),
        ("$SRV.STATS", lambda: stats(nc)),
        ("a queue group of two", lambda: queue_group(nc, url)),
        ("ping after all that", lambda: ping(nc)),
    ]:
        check(f"nats-py: {name}", lambda: loop.run_until_complete(run()))


def main():
    """Runs every check against the URL on the command line."""
    url = sys.argv[1]
    loop = asyncio.new_event_loop()
    nc = loop.run_until_complete(connect(url))
    checks(loop, nc, url)
    loop.run_until_complete(nc.close())
    end()


if __name__ == "__main__":
    main()
