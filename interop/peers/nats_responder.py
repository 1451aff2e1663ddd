"""A service of nats-py for our client to call: nats_responder.py nats://HOST:PORT.

It answers `SCRIPT.service.ping` by SCRIPT: `ok`, `silent` (never answers), or a number, which
becomes the error's code. Our client names the script as the path of its URL.
"""

import asyncio
import sys

from nats import micro

from nats_connect import connect

CODES = ["400", "404", "409", "429", "500", "503"]


async def ok(request):
    await request.respond(b"pong from python")


async def silent(_):
    pass


def error(code):
    async def handle(request):
        await request.respond_error(code, f"scripted {code}", headers={"x-peer": "nats-py"})

    return handle


async def main(url):
    nc = await connect(url)
    service = await micro.add_service(nc, name="scripted-python", version="1.0.0")
    handlers = {"ok": ok, "silent": silent} | {code: error(code) for code in CODES}
    for script, handler in handlers.items():
        name = f"script-{script}"
        await service.add_endpoint(name=name, subject=f"{script}.service.ping", handler=handler)
    await nc.flush()
    print(f"serving {url}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
