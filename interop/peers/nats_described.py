"""nats-py reads the descriptions of a service in `$SRV.INFO`: nats_described.py nats://HOST:PORT."""

import asyncio
import json
import sys

import nats

from checks import check, end, equal


async def info():
    nc = await nats.connect(sys.argv[1])
    try:
        return json.loads((await nc.request("$SRV.INFO.catalog-v1", b"", timeout=5)).data)
    finally:
        await nc.close()


INFO = asyncio.run(info())


def metadata(name):
    [endpoint] = [each for each in INFO["endpoints"] if each["name"] == name]
    return endpoint["metadata"]


def texts():
    equal(INFO["description"], "Catalogue of books.", "description")
    for endpoint in INFO["endpoints"]:
        for name, value in endpoint["metadata"].items():
            equal(isinstance(value, str), True, f"a text as {name}")


def facts():
    find = metadata("find")
    equal(find["rr-docs"], "Returns a book.", "documentation")
    equal(find["rr-idempotency"], "safe", "idempotency")
    equal(find["rr-error-type"], "catalog.CatalogError", "type of the error")
    equal(metadata("get")["rr-alias-of"], "find", "alias")


def schemas():
    book = json.loads(metadata("add")["rr-input"])
    equal(book["$ref"], "#/$defs/Book", "schema of the input")
    equal(book["$defs"]["Book"]["required"], ["title", "authors"], "required members")
    equal(json.loads(metadata("add")["rr-output"])["type"], "integer", "schema of the output")


check("nats-py: metadata of $SRV.INFO is texts", texts)
check("nats-py: facts in $SRV.INFO", facts)
check("nats-py: schemas in $SRV.INFO", schemas)
end()
