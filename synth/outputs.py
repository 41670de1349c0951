"""Write a synthesis as a data set folder: rows for LLaMA-Factory, rows with their provenance, and a data card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from limrank_ir import __version__
from limrank_ir.formats.files import replacing

from .config import SynthConfig
from .data_card import data_card
from .pipeline import STAGES, Synthesis
from .renderings import listwise, pointwise, setwise
from .templates import NAMES, read_prompts

ALPACA, PAIRS = "train_limrank.json", "pairs.jsonl"
FOLDER = "dataset"  # inside the output folder, apart from the journal, which nobody else needs


def write_outputs(folder: Path, result: Synthesis, config: SynthConfig) -> None:
    """Write the data set. LLaMA-Factory and Hugging Face's `datasets` can open the folder as it is.

    Args:
        folder: the folder to write.
        result: a complete synthesis.
        config: its configuration.

    Raises:
        InputError: a file cannot be written.
    """
    pairs = result.pairs
    write_json(folder / ALPACA, list(pointwise(pairs)))
    write_json(folder / "dataset_info.json", {"limrank_data": {"file_name": ALPACA}})
    write_lines(folder / PAIRS, provenance(result, config))
    write_lines(folder / "listwise.jsonl", listwise(pairs, seed=config.seed))
    write_lines(folder / "setwise.jsonl", setwise(pairs, seed=config.seed))
    with replacing(folder / "README.md") as file:
        file.write(data_card(result, config))


def write_stages(folder: Path, result: Synthesis) -> list[Path]:
    """Write what the stages have made so far, one JSONL file per stage, to look at before paying for the next stage.

    Args:
        folder: the folder to write to.
        result: what `limrank_ir.synth.pipeline.synthesize` returned with ``until``.

    Returns:
        The files.

    Raises:
        InputError: a file cannot be written.
    """
    made = []
    for stage in STAGES[:-1]:
        if records := getattr(result, stage):
            made.append(folder / f"{stage}.jsonl")
            write_lines(made[-1], (record.model_dump(mode="json") for record in records))
    return made


def provenance(result: Synthesis, config: SynthConfig) -> Iterable[dict[str, Any]]:
    """Turn each pair into a row that `limrank train` reads, with everything that it was made from.

    Args:
        result: a complete synthesis.
        config: its configuration.

    Yields:
        ``{qid, query, passage, label, reasoning, ...}``.
    """
    outlines = {outline.query.id: outline for outline in result.outlines}
    prompts = read_prompts(config.prompts)
    hashes = {name: prompts.version(name) for name in NAMES}
    for pair in result.pairs:
        outline = outlines[pair.query.id]
        yield {
            "id": pair.id,
            "qid": pair.query.id,
            "query": pair.query.text,
            "passage": pair.passage.text,
            "label": pair.label,
            "reasoning": pair.judgments[0].reasoning,
            "kind": pair.query.kind,
            "domain": pair.query.brief.domain,
            "difficulty": pair.query.brief.difficulty,
            "form": pair.query.brief.form,
            "need": pair.need,
            "passage_kind": pair.passage.kind,
            "document": pair.passage.document,
            "content": pair.passage.content,
            "flaw": pair.passage.flaw,
            "borrowed_from": pair.passage.source,
            "seed": pair.query.seed,
            "persona": pair.query.persona,
            "judgments": [judgment.model_dump(mode="json") for judgment in pair.judgments],
            "requests": {
                "query": pair.query.request,
                "outline": outline.request,
                "passage": pair.passage.request,
            },
            "models": {"generator": config.generator.model, "judge": config.judge.model},
            "prompts": hashes,
            "limrank_ir": __version__,
            **({} if config.license is None else {"license": config.license}),
        }


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented by one. The file appears only when it is complete."""
    with replacing(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSONL. The file appears only when it is complete."""
    with replacing(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
