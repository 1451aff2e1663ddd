"""Connects nats-py as the environment says: `RR_ROOTS` and `RR_NKEY` are paths of trusted roots and of a seed."""

import os
import ssl

import nats


async def connect(url):
    """Connects; over TLS if there are roots, and by the nkey if there is a seed."""
    options = {}
    if roots := os.environ.get("RR_ROOTS"):
        options["tls"] = ssl.create_default_context(cafile=roots)
    if seed := os.environ.get("RR_NKEY"):
        options["nkeys_seed"] = seed
    return await nats.connect(url, **options)
