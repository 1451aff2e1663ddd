"""nats-py against the example orders: orders_client.py nats://HOST:PORT."""

import asyncio
import json
import sys

import nats

from checks import check, end, equal

TOKEN = {"authorization": "Bearer demo", "x-tenant": "berlin"}


async def call(nc, method, value, headers=TOKEN):
    return await nc.request(f"orders.v1.{method}", json.dumps(value).encode(), timeout=5, headers=headers)


async def place(nc):
    reply = await call(nc, "place", {"item": "tea", "count": 2})
    equal(json.loads(reply.data), {"id": 1, "payment": "payment of 500 cents"}, "receipt")
    equal((reply.headers or {}).get("x-left"), "98", f"x-left of {reply.headers}")


async def get(nc):
    reply = await call(nc, "get", 1)
    equal(json.loads(reply.data), {"item": "tea", "count": 2}, "order")


async def other_tenant(nc):
    reply = await call(nc, "get", 1, TOKEN | {"x-tenant": "paris"})
    equal((reply.headers or {}).get("rr-code"), "not_found", f"code of {reply.headers}")
    detail = json.loads(reply.data)["details"][0]
    equal(detail["debug"], {"NoSuchOrder": 1}, "application error")


async def stamp(nc):
    headers = TOKEN | {"content-type": "application/octet-stream"}
    reply = await nc.request("orders.v1.stamp", b"label", timeout=5, headers=headers)
    equal(reply.data, b"PAID label", f"label, headers {reply.headers}")


async def no_token(nc):
    reply = await call(nc, "get", 1, {})
    headers = reply.headers or {}
    told = (headers.get("rr-code"), headers.get("rr-delivery"))
    equal(told, ("unauthenticated", "rejected"), f"code of {headers}")


async def unknown(nc):
    reply = await call(nc, "refund", 1)
    equal((reply.headers or {}).get("rr-code"), "unimplemented", f"code of {reply.headers}")


def main():
    """Runs every check against the URL on the command line."""
    loop = asyncio.new_event_loop()
    nc = loop.run_until_complete(nats.connect(sys.argv[1]))
    for run in (place, get, other_tenant, stamp, no_token, unknown):
        check(f"nats-py: orders: {run.__name__}", lambda: loop.run_until_complete(run(nc)))
    loop.run_until_complete(nc.close())
    end()


if __name__ == "__main__":
    main()
