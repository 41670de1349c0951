"""Prompt files: one for each stage, and one that asks again. ``$name`` stands for a value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from limrank_ir.errors import InputError

NAMES = ("queries", "outline", "passage", "judge", "grade")
"""The prompts of the stages. Each row of the data set carries their hashes."""
RETRY = "retry"
"""What a model is told when its answer is unusable."""

_VALUES: Mapping[str, frozenset[str]] = {
    "queries": frozenset(
        {
            *("seed", "persona"),
            *(
                f"{kind}_{name}"
                for kind in ("daily", "expert")
                for name in ("domain", "about", "difficulty_about", "form_about", "words", "rules_out")
            ),
        }
    ),
    "outline": frozenset({"query", "relation", "document", "least", "most", "count", "negatives", "slots"}),
    "passage": frozenset({"document", "register", "words", "content"}),
    "judge": frozenset({"query", "passage", "need", "least", "most"}),
    "grade": frozenset({"query", "passage"}),
    RETRY: frozenset({"reason"}),
}
"""The values that each prompt may use."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "outline": ("query",),
    "passage": ("content",),
    "judge": ("query", "passage"),
    "grade": ("query", "passage"),
}
"""The values without which an answer cannot be about what was asked, though it is paid for."""


class Prompts:
    """The prompts of a synthesis. `read_prompts` reads them."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Take the texts.

        Args:
            texts: name to text: `NAMES` and `RETRY`.
        """
        self._texts = texts

    def fill(self, name: str, **values: object) -> str:
        """Fill in a prompt. Values are inserted as they are, including any dollar signs.

        Args:
            name: one of `NAMES`, or `RETRY`.
            values: a value for each ``$name`` in the prompt.
        """
        return Template(self._texts[name]).substitute({key: str(value) for key, value in values.items()})

    def version(self, name: str) -> str:
        """The hash of a prompt, for provenance: 12 hexadecimal digits."""
        return hashlib.sha256(self._texts[name].encode()).hexdigest()[:12]


def read_prompts(folder: Path | None = None) -> Prompts:
    """Read the prompts of a synthesis.

    Args:
        folder: a folder with the same files as the package's ``synth/prompts``; None: the package's.

    Raises:
        InputError: a file is missing or cannot be read, uses a ``$name`` that its prompt does not have, or lacks one
            that it needs. All faults are named.
    """
    place = folder or Path(str(files(__package__) / "prompts"))
    texts: dict[str, str] = {}
    faults: list[str] = []
    for name, values in _VALUES.items():
        path = place / f"{name}.md"
        try:
            texts[name] = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            faults.append(f"{path}: no such file; copy it from the package's synth/prompts")
            continue
        except OSError as error:
            faults.append(f"{path}: cannot be read ({error.strerror}); check the file")
            continue
        except UnicodeDecodeError as error:
            faults.append(f"{path}: not UTF-8 (byte {error.object[error.start]:#04x}); convert the file to UTF-8")
            continue
        faults += [f"{path}: {fault}" for fault in _faults(texts[name], values, _NEEDED.get(name, ()))]
    if faults:
        raise InputError("; ".join(faults))
    return Prompts(texts)


def _faults(text: str, values: frozenset[str], needed: Sequence[str]) -> list[str]:
    template = Template(text)
    known = ", ".join(f"${name}" for name in sorted(values))
    if not text:
        return ["the file is empty; write the prompt"]
    if not template.is_valid():
        return [f"a $ without a name; write $$ for a dollar sign, or one of {known}"]
    used = template.get_identifiers()
    unknown = [f"unknown ${name}; choose from {known}" for name in used if name not in values]
    return unknown or [f"no ${name}; the model needs it" for name in needed if name not in used]
