"""Schemas that load on every supported host: arguments a host does not know are left out."""

import dataclasses
import inspect

from comfy_api.v0_0_2 import io

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}

# Marks an input as advanced where the host can.
ADVANCED = {"advanced": True} if "advanced" in inspect.signature(io.Float.Input.__init__).parameters else {}


def schema(**fields) -> io.Schema:
    """An io.Schema of the fields that this host's Schema has."""
    return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})
