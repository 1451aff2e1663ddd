"""A call in flight while the server is told to end: nats_drain.py nats://HOST:PORT PID."""

import asyncio
import os
import signal
import sys

import nats

from checks import check, end, equal


async def drain(url, process):
    nc = await nats.connect(url)
    answered = asyncio.get_running_loop().create_future()

    async def answer(message):
        answered.set_result(message)

    inbox = nc.new_inbox()
    await nc.subscribe(inbox, cb=answer)
    await nc.publish("service.sleep", b'{"millis":1000}', reply=inbox)
    # NATS keeps the order: when this is answered, the server has the call before it.
    reply = await nc.request("service.ping", b"ping", timeout=2)
    equal((reply.data, answered.done()), (b"pong", False), "answer before the signal")
    os.kill(process, signal.SIGTERM)
    reply = await asyncio.wait_for(answered, 5)
    equal("Nats-Service-Error" in (reply.headers or {}), False, f"an error: {reply.headers}")
    await nc.close()


URL, PROCESS = sys.argv[1], int(sys.argv[2])
check("nats-py: SIGTERM: the call in flight is answered", lambda: asyncio.run(drain(URL, PROCESS)))
end()
