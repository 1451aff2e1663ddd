"""Checks an OpenAPI document with openapi-spec-validator: openapi_validator.py FILE."""

import copy
import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from checks import check, end, equal

with open(sys.argv[1], encoding="utf-8") as file:
    DOCUMENT = json.load(file)


def errors(document):
    return [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]


def accepted():
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)
    equal(errors(DOCUMENT), [], "errors")


def refused(change, words):
    document = copy.deepcopy(DOCUMENT)
    change(document)
    found = " ".join(errors(document))
    equal(words in found, True, f"{words!r} in {found[:200]!r}")


def references(value):
    """Every reference of a document; no property of the service is named `$ref`."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from [member] if key == "$ref" else references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def resolved():
    found = set(references(DOCUMENT))
    equal("#/components/schemas/Book" in found, True, f"Book among {sorted(found)}")
    for reference in found:
        value = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            value = value[name]


def twice(document):
    path = document["paths"]["/catalog.v1/find"]
    path["get"]["operationId"] = path["post"]["operationId"]


def without_version(document):
    del document["info"]["version"]


check("openapi-spec-validator: the document is valid", accepted)
check("openapi: every reference leads to a component", resolved)
check("openapi-spec-validator: a repeated operation id is noticed", lambda: refused(twice, "unique"))
check("openapi-spec-validator: a missing member is noticed", lambda: refused(without_version, "version"))
end()
