"""Metadata in the head of a TREC run, as ir_metadata wants it (Breuer et al., SIGIR 2022, www.ir-metadata.org)."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.files import replacing, rows
from limrank_ir.formats.trec import HEAD_END, HEAD_START, iter_run, without_heads

from ..environment import PACKAGES

SCHEMA = 0.1  # what www.ir-metadata.org describes; `resources` is an addition of tirex-tracker (its 0.2)


def write_heads(
    runs: Iterable[Path], card: Mapping[str, Any], *, collection: str | None = None, measures: Sequence[str] = ()
) -> None:
    """Put a run card into the heads of runs, in place of a head that is there.

    trec_eval refuses comment lines, so heads are only for those who want them: `limrank_ir.formats.trec.iter_run` and
    repro_eval's ``MetadataHandler`` read such runs.

    Args:
        runs: TREC runs, plain or ``.gz``; each is replaced whole or not at all.
        card: what `limrank_ir.benchmarks.card.run_card` returned.
        collection: the test collection's name.
        measures: the names of the measures that were reported.

    Raises:
        InputError: PyYAML is missing, or a run is malformed.
    """
    need("a head of ir_metadata", "bench", "yaml")
    for run in runs:
        first = next(iter_run(run), None)
        if first is None:
            raise InputError(f"{run}: empty run; a head needs its tag")
        head = metadata(card, first.tag, collection=collection, measures=measures)
        body = without_heads(rows(run))
        with replacing(run) as file:
            file.writelines(f"{line}\n" for line in [HEAD_START, *_commented(head), HEAD_END])
            file.writelines(f"{line}\n" for _, line in body)


def metadata(
    card: Mapping[str, Any], tag: str, *, collection: str | None = None, measures: Sequence[str] = ()
) -> dict[str, Any]:
    """A run card in ir_metadata's form.

    Args:
        card: what `limrank_ir.benchmarks.card.run_card` returned.
        tag: the run's tag.
        collection: the test collection's name.
        measures: the names of the measures that were reported.

    Returns:
        Its six components: platform, research goal, implementation, method, actor, and data; and resources. What
        nobody but the user knows, such as the actor's name, is left to the user.
    """
    facts = card["environment"]
    usage = card.get("usage") or {}
    return _known(
        {
            "schema-version": SCHEMA,
            "run-version": 1.0,
            "tag": tag,
            "platform": {
                "hardware": {
                    "cpu": {
                        "model": facts.get("processor", facts["hardware"]),
                        "architecture": platform.machine(),
                        "features": facts.get("instruction sets"),
                    },
                    "gpu": {"model": facts["hardware"]} if "processor" in facts else None,
                    "ram": facts.get("memory"),
                },
                "operating system": {"kernel": f"{platform.system()} {platform.release()}"},
                "software": {
                    "libraries": {
                        "python": [f"{package}=={facts[package]}" for package in PACKAGES if package in facts]
                    }
                },
            },
            "research goal": {"evaluation": {"reported measures": list(measures)}},
            "implementation": {
                "executable": {"cmd": facts["command"]},
                "source": {"lang": ["python"], "commit": facts.get("commit")},
            },
            "method": {
                "automatic": True,
                "score ties": "descending docno, as in trec_eval",
                "retrieval": [
                    {
                        "name": label,
                        "method": found["name"],
                        "identity": found["identity"],
                        "adapter": found["adapter_hash"],
                    }
                    for label, found in card["systems"].items()
                ],
                "settings": dict(card["settings"]),
            },
            "actor": {"role": "experimenter"},
            "data": {
                "test collection": {"name": collection},
                "other": [{"name": name, "source": source} for name, source in card["data"].items()],
            },
            "resources": {
                "runtime": {"start time": usage.get("started"), "wall clock": _unit(usage.get("seconds"), "s")},
                "energy": usage.get("energy"),
                **{part: {"energy used system": _unit(used, "J")} for part, used in usage.get("joules", {}).items()},
            },
        }
    )


def _commented(head: Mapping[str, Any]) -> list[str]:
    """The head as comment lines."""
    import yaml

    text = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True, width=float("inf"))
    if any(mark in text for mark in "\x85\u2028\u2029"):  # line breaks in YAML 1.1, but not in 1.2
        text = yaml.safe_dump(dict(head), sort_keys=False, width=float("inf"))
    return [f"# {line}" for line in text.rstrip("\n").split("\n")]


def _known(value: Any) -> Any:
    """Leave out what is unknown or empty, at every level."""
    if isinstance(value, Mapping):
        kept = {str(name): _known(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part not in (None, "", {}, [])}
    if isinstance(value, (list, tuple)):
        return [_known(part) for part in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _unit(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:.1f} {unit}"
