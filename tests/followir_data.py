"""A tiny FollowIR data set in the layout of ``mteb/Core17InstructionRetrieval``, for the tests."""

from __future__ import annotations

import json
from pathlib import Path

DOCS = {
    "d1": ("Copying", "shutil.copy copies a file."),
    "d2": ("", "A cake needs flour."),
    "d3": ("Removing", "os.remove deletes a file."),
    "d4": ("Bread", " flour and water "),
    "d5": ("Other", "nothing of this"),
}
QUERIES = {"301": "files", "302": "baking"}
INSTRUCTIONS = {
    "301-og": "What copies or deletes files is relevant.",
    "301-changed": "Only copying is relevant, deleting is not.",
    "302-og": "Cakes and bread are relevant.",
    "302-changed": "Only cakes are relevant.",
}
RELEVANT = {
    "301-og": {"d1": 1, "d3": 1, "d2": 0},
    "301-changed": {"d1": 1, "d3": 0, "d2": 0},
    "302-og": {"d2": 1, "d4": 1},
    "302-changed": {"d2": 1, "d4": 0},
}
CHANGED = {"301": ["d3"], "302": ["d4"]}
CANDIDATES = ["d5", "d4", "d3", "d2", "d1"]


def write_dataset(folder: Path, **configs: list[dict] | None) -> Path:
    """Write the data set. `configs` replace a configuration, or leave it out (None)."""
    qids = list(INSTRUCTIONS)
    rows: dict[str, list[dict] | None] = {
        "default": [
            {"query-id": qid, "corpus-id": docno, "score": grade}
            for qid, grades in RELEVANT.items()
            for docno, grade in grades.items()
        ],
        "corpus": [{"_id": docno, "title": title, "text": text} for docno, (title, text) in DOCS.items()],
        "queries": [{"_id": qid, "text": QUERIES[qid.split("-")[0]]} for qid in qids],
        "instruction": [{"query-id": qid, "instruction": text} for qid, text in INSTRUCTIONS.items()],
        "qrel_diff": [{"query-id": name, "corpus-ids": docnos} for name, docnos in CHANGED.items()],
        "top_ranked": [{"query-id": qid, "corpus-ids": CANDIDATES} for qid in qids],
        **configs,
    }
    folder.mkdir(parents=True)
    head = ["---", "configs:"]
    for config, found in rows.items():
        if found is None:
            continue
        split = {"default": "test", "qrel_diff": "qrel_diff"}.get(config, config)
        head += [f"- config_name: {config}", "  data_files:", f"  - split: {split}", f"    path: {config}.jsonl"]
        (folder / f"{config}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    (folder / "README.md").write_text("\n".join([*head, "---", ""]))
    return folder
