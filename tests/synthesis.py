"""Shared by the tests of the synthesizer: seeds, personas, prompts, and configurations for a loopback server."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.synth.guidelines import read_guidelines

FIELDS = [domain.name for domain in read_guidelines().domains if domain.expert]


def write_sources(folder: Path, count: int = 60) -> None:
    """Write `count` seeds and three times as many personas, from every field."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = "".join(f"s{number}\twhat is thing number {number}\n" for number in range(count))
    (folder / "seeds.tsv").write_text(seeds)
    personas = [
        {"id": f"p{number}", "persona": f"somebody number {number}", "domain": FIELDS[number % len(FIELDS)]}
        for number in range(3 * count)
    ]
    (folder / "personas.jsonl").write_text("".join(json.dumps(persona) + "\n" for persona in personas))


def write_prompts(folder: Path) -> Path:
    """Copy the package's prompts, so that a test can change them."""
    return Path(shutil.copytree(str(files("limrank_ir.synth") / "prompts"), folder / "prompts"))


def write_config(folder: Path, url: str, **changes: Any) -> Path:
    """Write a configuration next to the sources. `filters` are merged with the defaults."""
    model = {"base_url": url, "identity": "loopback", "concurrency": 16}
    settings = {
        "seeds": "seeds.tsv",
        "personas": "personas.jsonl",
        "couples": 20,
        "output": "out",
        "generator": {"model": "gpt-4o", **model},
        "judge": {"model": "deepseek-reasoner", "structured": "none", **model},
        **changes,
        "filters": {"hard": None, "paraphrase": None, **changes.get("filters", {})},
    }
    path = folder / "synth.yaml"
    path.write_text(json.dumps(settings))
    return path


def synth(*arguments: object) -> Result:
    """Run ``limrank synth`` in this process."""
    return CliRunner().invoke(app, ["synth", *map(str, arguments)])
