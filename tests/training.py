"""Shared by the tests of training: rows that a tiny model can learn, and configurations for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COLORS = ["red", "green", "blue", "black", "white", "brown", "pink", "gray"]

GROUP = {"query": "q", "pos": ["a"], "neg": ["b"]}
PAIR = {"query": "q", "passage": "a", "label": True}


def groups(count: int = 16) -> list[dict[str, Any]]:
    """Queries for a color; the passage that names it is relevant."""
    rows = []
    for number in range(count):
        color, *others = COLORS[number % 8 :] + COLORS[: number % 8]
        rows.append(
            {
                "qid": f"q{number}",
                "query": f"find {color} thing number {number}",
                "pos": [f"the thing is {color}"],
                "neg": [f"the thing is {other}, not what was asked" for other in others[: 2 + number % 3]],
                "reasoning": f"The passage says {color}. That was asked.",
                "license": "MIT",
            }
        )
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write(folder: Path, *rows: dict[str, Any], name: str = "rows.jsonl") -> Path:
    """Write rows into a folder."""
    return write_rows(folder / name, list(rows))


def write_config(place: Path, folder: str | Path, **changes: Any) -> Path:
    """Write a configuration of a short run, as JSON (which is YAML), with `changes` merged into the defaults."""
    settings: dict[str, Any] = {
        "model": str(folder),
        "prompt_format": "rank1",
        "dtype": "float32",
        "output": "out",
        "objectives": {"contrastive": 1.0, "binary": 0.5},
        **changes,
        "data": {"sources": [{"path": "rows.jsonl"}], "cutoff": 128, **changes.get("data", {})},
        "lora": {"rank": 4, "alpha": 8, **changes.get("lora", {})},
        "training": {
            "use_cpu": True,
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "logging_steps": 1,
            "save_steps": 2,
            "disable_tqdm": True,
            **changes.get("training", {}),
        },
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(settings), encoding="utf-8")
    return place
