"""Git LFS as a loopback Hub speaks it: large objects whole or in parts, each kept by its SHA-256."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tests.release.loopback_store import Answer, Refused, said

if TYPE_CHECKING:
    from tests.release.loopback_hub import Asked


def batch(asked: Asked) -> Answer:
    """Where to send the large objects that are not there yet: whole, or in parts."""
    asked.repository(write=True)
    objects = [_action(asked, item["oid"], item["size"]) for item in asked.json["objects"]]
    return said({"transfer": "multipart", "objects": objects})


def _action(asked: Asked, oid: str, size: int) -> dict[str, Any]:
    hub = asked.hub
    if oid in hub.objects:
        return {"oid": oid, "size": size}
    verify = {"href": f"{hub.url}/lfs/verify", "header": {}}
    if size <= hub.part_size:
        return {"oid": oid, "size": size, "actions": {"upload": {"href": f"{hub.url}/lfs/{oid}"}, "verify": verify}}
    parts = math.ceil(size / hub.part_size)
    header = {"chunk_size": str(hub.part_size)}
    header |= {str(number): f"{hub.url}/lfs/{oid}/{number}" for number in range(1, parts + 1)}
    upload = {"href": f"{hub.url}/lfs/{oid}/complete", "header": header}
    return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}


def put(asked: Asked) -> Answer:
    """A whole object, or a part of one."""
    content = bytearray(asked.body)
    asked.hub.sent += len(content)
    if asked.fault and asked.fault.kind == "corrupt":
        content[len(content) // 2] ^= 1
    if part := asked.found.get("part"):
        asked.hub.parts[asked.found["oid"], int(part)] = bytes(content)
    else:
        asked.hub.objects[asked.found["oid"]] = bytes(content)
    return 200, {"ETag": f'"{len(content)}-{part}"'}, b""


def complete(asked: Asked) -> Answer:
    """All parts of an object have come."""
    oid, hub = asked.json["oid"], asked.hub
    numbers = [part["partNumber"] for part in asked.json["parts"]]
    hub.objects[oid] = b"".join(hub.parts.pop((oid, number)) for number in numbers)
    return said({})


def verify(asked: Asked) -> Answer:
    """Whether an object is there with its size: the public Hub looks no closer either."""
    content = asked.hub.objects.get(asked.json["oid"])
    if content is None or len(content) != asked.json["size"]:
        raise Refused(422, "object is not there")
    return said({})
