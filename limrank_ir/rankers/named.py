"""Rankers by name: ``"setwise"``, or with options, ``"setwise:top=10,window=4,sort=bubble"``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from types import MappingProxyType, NoneType
from typing import Any, Final, get_args, get_type_hints

from limrank_ir.errors import InputError
from limrank_ir.rankers.adaptive import Adaptive
from limrank_ir.rankers.first import First
from limrank_ir.rankers.graded import Graded
from limrank_ir.rankers.groupwise import Groupwise
from limrank_ir.rankers.icr import Icr
from limrank_ir.rankers.intent import Intent
from limrank_ir.rankers.listwise import Listwise
from limrank_ir.rankers.order import Ranker
from limrank_ir.rankers.pointwise import Pointwise
from limrank_ir.rankers.setwise import Setwise
from limrank_ir.rankers.two_stages import TwoStages

RANKERS: Final[Mapping[str, type[Ranker]]] = MappingProxyType(
    {
        "pointwise": Pointwise,
        "graded": Graded,
        "intent": Intent,
        "setwise": Setwise,
        "listwise": Listwise,
        "first": First,
        "icr": Icr,
        "groupwise": Groupwise,
        "two-stages": TwoStages,
        "adaptive": Adaptive,
    }
)

SUMMARIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pointwise": "judges each passage alone, true or false",
        "graded": "reads a grade of each passage",
        "graded:highest=10": "the same, with grades up to 10",
        "graded:rule=tfrank": "the mean of a grade and P(true)",
        "intent": "reads whether a passage answers or is background, and weighs the two by what the query needs",
        "setwise": "reads the best of a few passages, and sorts by it",
        "setwise:by=answer": "the same, but the model writes which is the best, after a thought if its format has one",
        "listwise": "the model writes the order of sliding windows",
        "first": "reads the order of sliding windows off the first identifier",
        "first:task=best": "the same, with the question for the best of a set",
        "icr": "reads the attention that each passage gets from the query",
        "groupwise": "the model writes grades of shuffled groups; their means are mixed with the first stage's scores",
        "two-stages": "one ranker for all passages (pointwise), another one for the best of them (listwise)",
        "adaptive": "judges a number of passages, and estimates the others from them",
    }
)
"""What rankers do, in one line each; also with the options that make them ask something else."""

_WORDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def as_ranker(ranker: str | Ranker, **options: Any) -> Ranker:
    """Make a ranker from its name and options.

    Args:
        ranker: a name in `RANKERS`, to which options may be added: ``"setwise:top=10,sort=bubble"``. The rankers of
            ``two-stages`` are options, too, and theirs have their names in front:
            ``"two-stages:top=20,second=setwise,second.top=5"``. Or a ranker, which is returned as it is.
        options: options by name, with their values; they replace those of the same name in `ranker`.

    Returns:
        The ranker.

    Raises:
        InputError: there is no such ranker or option, a value is invalid, or options are given together with a ranker.

    Example:
        >>> as_ranker("setwise:top=5", window=3)
        Setwise(top=5, window=3, sort='heap', by='labels', depth=None, repeats=1, seed=0)
    """
    if not isinstance(ranker, str):
        if isinstance(ranker, type) or not callable(getattr(ranker, "steps", None)):
            raise InputError(f"a ranker is a name, such as 'setwise', or an object with steps(), not {ranker!r}")
        if options:
            raise InputError(f"{', '.join(options)}: set these on the ranker itself, {ranker!r}")
        return ranker
    name, _, rest = ranker.partition(":")
    return _made(name.strip(), {**_options(ranker, rest), **options})


def spec(ranker: Ranker) -> str:
    """The text by which `as_ranker` makes a ranker: its name, and the options that differ from their defaults.

    Args:
        ranker: the ranker.

    Returns:
        The text; for a ranker that has no name, its `repr`.

    Example:
        >>> spec(Setwise(top=5, sort="bubble"))
        'setwise:top=5,sort=bubble'
    """
    name = next((name for name, kind in RANKERS.items() if type(ranker) is kind), None)
    if name is None:
        return repr(ranker)
    options = ",".join(_differing(ranker))
    return f"{name}:{options}" if options else name


def _differing(ranker: Any) -> Iterable[str]:
    for field in fields(ranker):
        value = getattr(ranker, field.name)
        if value == _default(field):
            continue
        if hasattr(value, "steps"):
            nested, _, options = spec(value).partition(":")
            yield f"{field.name}={nested}"
            yield from (f"{field.name}.{option}" for option in options.split(",") if option)
        else:
            yield f"{field.name}={value if isinstance(value, str) else json.dumps(value)}"


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _options(text: str, rest: str) -> dict[str, Any]:
    """The options in a text. A value is read as JSON where it is JSON, else as text."""
    options: dict[str, Any] = {}
    for part in filter(None, map(str.strip, rest.split(","))):
        name, equals, value = map(str.strip, part.partition("="))
        if not name or not equals or not value:
            raise InputError(f"ranker {text!r}: {part!r} is no option; write OPTION=VALUE, such as setwise:top=10")
        name = name.replace("-", "_")
        if name in options:
            raise InputError(f"ranker {text!r}: {name} is given twice")
        try:
            options[name] = None if value.lower() == "none" else json.loads(value)
        except ValueError:
            options[name] = value
    return options


def _made(name: str, options: Mapping[str, Any]) -> Ranker:
    if name not in RANKERS:
        raise InputError(f"unknown ranker {name!r}{_meant(name, RANKERS)}; choose one of: {', '.join(RANKERS)}")
    kind: Any = RANKERS[name]
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    values: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for option, value in options.items():
        outer, dot, inner = option.partition(".")
        if outer not in known or (dot and hints[outer] is not Ranker):
            raise InputError(f"{name} has no option {option!r}{_meant(option, known)}; it has: {', '.join(known)}")
        if dot:
            nested.setdefault(outer, {})[inner] = value
        else:
            values[outer] = _checked(name, outer, value, hints[outer])
    for outer, inside in nested.items():
        base = values[outer] if outer in values else getattr(kind(), outer)
        values[outer] = as_ranker(spec(base), **inside)
    return kind(**values)


def _checked(ranker: str, option: str, value: Any, hint: Any) -> Any:
    """A value of an option's type. Which numbers and words are possible is the ranker's to check."""
    if hint is Ranker:
        return as_ranker(value)
    types = get_args(hint) or (hint,)
    if value is None and NoneType in types:
        return None
    wanted = next((kind for kind in types if kind in _WORDS), None)  # a choice of words has none
    if wanted is None or type(value) is wanted or (wanted is float and type(value) is int):
        return value
    raise InputError(f"{ranker}: {option} is {value!r}; give {_WORDS[wanted]}")


def _meant(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name.lower(), known, 1)
    return f" (did you mean {near[0]}?)" if near else ""
