"""The page at ``/docs``, made from the API's own description. It fetches nothing, so that it is there offline, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Template
from typing import Any

from limrank_ir.workshop import page

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${style}
section p { margin-bottom: .75rem; max-width: 44rem; }
section h2 { font-family: var(--mono); font-size: 1rem; }
section .scroll { margin-bottom: 1rem; }
section details, section details:first-of-type { margin: 0; border: 0; padding: 0 0 .75rem; }
td.text { white-space: normal; min-width: 6rem; }
pre { margin: .5rem 0 0; padding: .75rem; overflow-x: auto; background: var(--faint); font: .8125rem/1.5 var(--mono); }
</style>
</head>
<body>
<header>
<h1>${title}</h1>
<p class="lede">${about}</p>
<p class="protocol">The same for programs: <a href="openapi.json">openapi.json</a></p>
</header>
<main>
${body}
</main>
</body>
</html>
""")


def docs(described: Mapping[str, Any]) -> str:
    """Make the page.

    Args:
        described: the OpenAPI description.

    Returns:
        HTML.
    """
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    return _PAGE.substitute(
        style=page.STYLE.read_text(encoding="utf-8"),
        title=page.text(f"{described['info']['title']} {described['info']['version']}"),
        about=page.text(described["info"].get("description", "")),
        body="\n".join(_section(name, operation) for name, operation in operations),
    )


def _section(name: str, operation: Mapping[str, Any]) -> str:
    """One path: what it does, what it takes, what it answers."""
    parts = [f"<h2>{page.text(name)}</h2>", f"<p>{page.text(operation.get('description', ''))}</p>"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "schema" in body:
        fields = [_field(field, shape, body["schema"]) for field, shape in body["schema"]["properties"].items()]
        parts.append(page.plain(["field", "type", "default", "what it is"], fields, left=(0, 1, 2, 3)))
    if "example" in body:
        example = json.dumps(body["example"], indent=2, ensure_ascii=False)
        parts.append(page.fold("An example", f"<pre>{page.text(example)}</pre>"))
    answers = [[status, answer["description"]] for status, answer in operation["responses"].items()]
    parts.append(page.plain(["status", "meaning"], answers, left=(0, 1)))
    return f"<section>{''.join(parts)}</section>"


def _field(name: str, shape: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    needed = name in schema.get("required", [])
    default = "needed" if needed else json.dumps(shape.get("default"))
    return [name, _kind(shape), default, shape.get("description", "")]


def _kind(shape: Mapping[str, Any]) -> str:
    """A type in a few words: ``integer``, ``text or object``, ``list of text``."""
    if "anyOf" in shape:
        kinds = (_kind(one) for one in shape["anyOf"] if one.get("type") != "null")
        return " or ".join(dict.fromkeys(kinds))
    if shape.get("type") == "array":
        return f"list of {_kind(shape['items'])}"
    return {"string": "text"}.get(kind := shape.get("type", "object"), kind)
