"""Collect the documentation strings of the standard library. As a script, print them as one JSON object.

`limrank_ir.demo.collection` runs this script in a separate interpreter. That way the result does not depend on what the
caller's process has loaded (torch and transformers replace and add functions in inspect and logging), and importing
about 300 modules leaves no trace there. For the same reason this module imports only the standard library.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

MIN_WORDS = 8
"""Shorter passages, including name and signature, say too little to be judged. os.fsync has nine words."""

MAX_WORDS = 300
"""Topics of the language reference are split at this length. Docstrings are never split: one object, one passage."""


# Modules to skip:
# - modules that do something on import (print, open a browser, set readline's completer) or need a display;
# - platform-specific twins of os and os.path, whose names nobody writes;
# - modules that Python 3.12 or 3.13 dropped, and internals that no program uses. Without them, the three versions have
#   nearly the same passages, and no old twin (pipes.quote, crypt.crypt) is left unjudged on one of them.
_SKIPPED = frozenset(
    re.findall(
        r"\S+",
        """
        antigravity idlelib readline rlcompleter this tkinter turtle turtledemo
        genericpath nt ntpath posix posixpath nturl2path
        aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib
        ossaudiodev pipes smtpd sndhdr spwd sre_compile sre_constants sre_parse sunau telnetlib uu xdrlib
        encodings opcode pydoc_data pyexpat socket.SocketType
        """,
    )
)

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_SIGNATURE_ONLY = re.compile(r"\w*(\([^()]*\))?( -> \w+)?")  # as in namedtuples, dataclasses, and ast nodes
_UNDERLINE = re.compile(r"([*=\-~^#])\1+")
_DEFINITION = re.compile(r"(?:(?:async|class|classmethod|exception|static) )*([A-Za-z_][\w.]*)(?:\(.*\)|\[.*\])?")


def docstrings() -> dict[str, str]:
    """Return docno -> text for everything in the standard library that has documentation."""
    texts = _docstrings()
    _add_topics(texts)
    return dict(sorted(texts.items()))


# --- docstrings ---------------------------------------------------------------------------------------------------


def _docstrings() -> dict[str, str]:
    """Return docno -> text for everything in the standard library that has its own docstring."""
    modules = dict(_modules())
    # An object may have several names: asyncio.run is asyncio.runners.run, and os.error is OSError. Collect all names
    # with a rank and keep the best one for each object, then the best class name for each method.
    ranked: list[tuple[tuple[Any, ...], str, Any]] = [((0,), name, module) for name, module in modules.items()]
    documented = set(map(id, modules.values()))
    for position, (module_name, module) in enumerate(modules.items()):
        exported = getattr(module, "__all__", ())
        for name, obj in vars(module).items():
            home = _home(obj)
            if name.startswith("_") or inspect.ismodule(obj) or _root(home) not in sys.stdlib_module_names:
                continue
            at_home = _root(home).lstrip("_") == _root(module_name)
            builtin = module_name == "builtins"
            qualified = name if builtin else f"{module_name}.{name}"
            if not (builtin or at_home or name in exported) or qualified in _SKIPPED:
                continue
            alias = name != getattr(obj, "__name__", name)  # array.ArrayType is array.array
            # Prefer the module where it belongs, its own name, the shortest path, and a module that exports it.
            rank = (1, not builtin, not at_home, alias, qualified.count("."), name not in exported, position)
            ranked.append((rank, qualified, obj))
            if not exported or name in exported:  # otherwise internal, unless another module exports it
                documented.add(id(obj))
    ranked.sort(key=lambda candidate: (candidate[0], candidate[1]))

    named: dict[int, str] = {}
    objects: list[tuple[str, Any]] = []
    for _, name, obj in ranked:
        if id(obj) in documented and named.setdefault(id(obj), name) == name:
            objects.append((name, obj))
    # Base classes and short names first, so that what classes share is listed where people look for it: under bytes
    # rather than bytearray, and under ExitStack rather than AsyncExitStack.
    classes = [(name, obj) for name, obj in objects if inspect.isclass(obj)]
    classes.sort(key=lambda pair: (_home(pair[1]) != "builtins", len(pair[1].__mro__), len(pair[0])))
    members = [(f"{name}.{attr}", member) for name, cls in classes for attr, member in _own(cls, named)]

    texts: dict[str, str] = {}
    seen: set[str] = set()
    for name, obj in objects + members:
        doc = _doc(obj)
        text = f"{name}{_signature(obj)}\n\n{doc}"
        if name in texts or doc in seen or _SIGNATURE_ONLY.fullmatch(doc):
            continue
        if _is_long_enough(text):
            seen.add(doc)
            texts[name] = text
    return texts


def _is_long_enough(text: str) -> bool:
    return len(re.findall(r"\w+", text)) >= MIN_WORDS


def _modules() -> Iterator[tuple[str, types.ModuleType]]:
    """Import the public modules of the standard library, packages before their contents."""
    pending = sorted(name for name in sys.stdlib_module_names if not name.startswith("_") and name not in _SKIPPED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing a deprecated module warns
        while pending:
            name = pending.pop(0)
            try:
                module = importlib.import_module(name)
            except Exception:  # for another platform, or optional and not built
                continue
            yield name, module
            if name == "os":
                yield "os.path", module.path
            found = sorted(info.name for info in pkgutil.iter_modules(getattr(module, "__path__", ())))
            pending += [f"{name}.{part}" for part in found if part[0] != "_" and part not in ("test", "tests")]


def _own(cls: type, public: dict[int, str]) -> Iterator[tuple[str, Any]]:
    """Yield the public members that a class defines or inherits from a private base (``_io._IOBase``)."""
    for base in cls.__mro__:
        if base is cls or id(base) not in public:
            yield from ((name, obj) for name, obj in sorted(vars(base).items()) if not name.startswith("_"))


def _home(obj: Any) -> str:
    home = getattr(obj, "__module__", None)
    return home if isinstance(home, str) else ""


def _root(module_name: str) -> str:
    return module_name.partition(".")[0]


def _doc(obj: Any) -> str:
    """Return an object's own docstring, cleaned up. A class's docstring includes its constructor's."""
    doc = getattr(obj, "__doc__", None)
    if not isinstance(doc, str) or (not inspect.isclass(obj) and doc == type(obj).__doc__):
        return ""  # inherited from its class
    parts = [doc]
    if inspect.isclass(obj) and inspect.isfunction(init := vars(obj).get("__init__")):
        parts.append(init.__doc__ or "")
    return _ADDRESS.sub("", "\n\n".join(cleaned for part in parts if (cleaned := inspect.cleandoc(part))))


def _signature(obj: Any) -> str:
    """Return ``(a, b=1)``, or nothing.

    Annotations are dropped, and defaults that are not plain constants become ``...``: their repr may contain a memory
    address, the order of a set, or the state of this process (``file=sys.stdout``). So do absolute paths, which depend
    on where this Python is installed.
    """
    if isinstance(obj, (classmethod, staticmethod)):
        obj = obj.__func__
    if not callable(obj):
        return ""
    try:
        signature = inspect.signature(obj)
    except Exception:  # many C functions, each failing in its own way; their docstring has the signature
        return ""
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.default is not parameter.empty and not _is_constant(parameter.default):
            parameter = parameter.replace(default=_ELLIPSIS)
        parameters.append(parameter.replace(annotation=parameter.empty))
    return str(inspect.Signature(parameters))


class _Ellipsis:
    def __repr__(self) -> str:
        return "..."


_ELLIPSIS = _Ellipsis()


def _is_constant(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(_is_constant, value))
    if type(value) is str:
        return not os.path.isabs(value)
    return type(value) in (type(None), bool, int, float, bytes)


# --- the language reference ---------------------------------------------------------------------------------------


def _add_topics(texts: dict[str, str]) -> None:
    """Add the topics of ``help()`` to docno -> text.

    Topics have up to 9,000 words, and long ones repeat short ones. As one passage, such a topic would answer a hundred
    questions, each in a sentence that a reranker never reaches. Split at fixed lengths, "#7" would be a different text
    in the next version of Python. So topics are split where their authors divide them: a section becomes
    ``topic:compound/the-match-statement``, and a definition becomes a passage (``object.__hash__``) or joins the
    docstring of the same name (``str.partition``). Only what is still long is split at
    paragraphs and numbered (``#2``).
    """
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:  # some distributions omit it
        return
    seen: set[str] = set()
    for topic, source in sorted(topics.items(), key=lambda item: (len(item[1]), item[0])):
        parts: dict[tuple[str, str], list[str]] = {}
        for docno, title, chunk in _chunks(source, texts, f"topic:{topic}"):
            if (words := " ".join(chunk.split())) not in seen:
                seen.add(words)
                parts.setdefault((docno, title), []).append(chunk)
        for (docno, title), chunks in parts.items():
            for number, piece in enumerate(_packed(chunks), 1):
                if number == 1 and docno in texts:
                    texts[docno] += f"\n\n{piece}"
                elif _is_long_enough(piece):
                    texts[docno if number == 1 else f"{docno}#{number}"] = f"{title}\n\n{piece}"


def _chunks(source: str, texts: dict[str, str], docno: str, owner: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (docno, title, chunk). A chunk is a paragraph and the indented ones that follow it."""
    blocks = re.split(r"\n\s*\n", source.strip("\n"))
    starts = [i for i, block in enumerate(blocks) if i == 0 or not block.startswith(" ")]
    base, title = docno, owner
    headings: list[str] = []
    marks: list[str] = []  # underline characters in order of appearance: a heading's level is the index of its mark
    for start, end in zip(starts, [*starts[1:], len(blocks)], strict=True):
        head, body = blocks[start], inspect.cleandoc("\n" + "\n\n".join(blocks[start + 1 : end]))
        lines = head.splitlines()
        defined = [match[1] for line in lines if (match := _DEFINITION.fullmatch(line))]
        name = f"{owner}.{defined[0]}" if owner and defined else "".join(defined[:1])
        if len(lines) == 2 and _UNDERLINE.fullmatch(lines[1]):
            if lines[1][0] not in marks:
                marks.append(lines[1][0])
            headings = [*headings[: marks.index(lines[1][0])], lines[0]]
            title = ": ".join(headings)
            docno = "/".join([base] + [re.sub(r"[^a-z0-9]+", "-", h.lower()).strip("-") for h in headings[1:]])
        elif (
            body
            and len(defined) == len(lines)
            and (name in texts if owner or lines[0].startswith("class ") else "." in name)
        ):
            yield name, name, head
            yield from _chunks(body, texts, name, owner=name)
        else:
            yield docno, title, "\n\n".join(blocks[start:end])


def _packed(chunks: list[str]) -> Iterator[str]:
    """Join chunks into pieces of up to `MAX_WORDS` words. Longer chunks are split, longer paragraphs are not."""
    piece: list[str] = []
    size = 0
    for chunk in chunks:
        for part in chunk.split("\n\n") if len(chunk.split()) > MAX_WORDS else [chunk]:
            words = len(part.split())
            if piece and size + words > MAX_WORDS:
                yield "\n\n".join(piece)
                piece, size = [], 0
            piece.append(part)
            size += words
    if piece:
        yield "\n\n".join(piece)


if __name__ == "__main__":
    # On a separate line, because importing readline prints an escape sequence on some terminals.
    print("\n" + json.dumps(docstrings()))
