"""The page at ``/docs``, made from the OpenAPI description. It loads nothing, so it works offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limrank_ir.workshop.page import render


def docs_page(openapi: Mapping[str, Any]) -> str:
    """Create the page.

    Args:
        openapi: the OpenAPI description.

    Returns:
        HTML.
    """
    return render(
        Path(__file__).with_name("page.html"),
        title=f"{openapi['info']['title']} {openapi['info']['version']}",
        about=openapi["info"].get("description", ""),
        operations=[
            _operation(f"{method.upper()} {path}", operation)
            for path, methods in openapi["paths"].items()
            for method, operation in methods.items()
        ],
    )


def _operation(name: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    """The description, fields, and responses of an operation."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = body.get("schema", {"properties": {}})
    return {
        "name": name,
        "about": operation.get("description", ""),
        "fields": [_field(field, shape, schema) for field, shape in schema["properties"].items()],
        "example": json.dumps(body["example"], indent=2, ensure_ascii=False) if "example" in body else "",
        "answers": [[status, answer["description"]] for status, answer in operation["responses"].items()],
    }


def _field(name: str, shape: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    default = "required" if name in schema.get("required", []) else json.dumps(shape.get("default"))
    return [name, _kind(shape), default, shape.get("description", "")]


def _kind(shape: Mapping[str, Any]) -> str:
    """A type in a few words: ``integer``, ``string or object``, ``list of string``."""
    if "anyOf" in shape:
        kinds = (_kind(one) for one in shape["anyOf"] if one.get("type") != "null")
        return " or ".join(dict.fromkeys(kinds))
    if shape.get("type") == "array":
        return f"list of {_kind(shape['items'])}"
    return shape.get("type", "object")
