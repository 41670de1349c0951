"""A bi-encoder that learns the order of the reranker: a distillation step of Trans-Encoder (arXiv 2109.13059).

Model, trainer, loss, and files are those of sentence-transformers. ``limrank retrieve --encoder FOLDER``,
``limrank bench suite --system dense:FOLDER``, and ``sentence_transformers.SentenceTransformer`` load the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank_ir.errors import InputError
from limrank_ir.retrieval import minilm

from .config import TrainConfig, read_config
from .learnable import check_learnable
from .mixture import data_hash, mix
from .rows import Group
from .run import SAVE_MEMORY, arguments, last_checkpoint
from .run_record import check_settings
from .teacher import teach
from .teacher.models import teacher_identity

if TYPE_CHECKING:
    from torch import Tensor

SETTINGS = "bi-encoder-settings.json"
SCALE = 20.0
"""Cosines times this are the student's log-odds, as such encoders are trained; `Data.teacher_scale` is made for it."""


def train_bi_encoder(
    path: Path,
    start: str,
    *,
    data: Path | None = None,
    output: Path | None = None,
    changes: Sequence[str] = (),
    resume: bool = True,
) -> Path:
    """Train all weights of a bi-encoder on the teachers' scores.

    Rows, teachers, and ``training`` are those of the configuration; its model, LoRA settings, and objectives are not
    used. The loss is the divergence of the student's softmax over a query's passages from the teachers'. Instructions
    are prepended to the query, for the student as well.

    Args:
        path: the configuration, with `Data.teacher`.
        start: the bi-encoder to start from: ``"minilm"``, or a folder or hub id of sentence-transformers.
        data: the folder of the sources, instead of ``data.folder``.
        output: the folder for results, instead of ``output``.
        changes: settings that override those of the file (`read_config`).
        resume: continue from the last complete checkpoint in the output folder.

    Returns:
        The bi-encoder's folder.

    Raises:
        InputError: the configuration or the data are wrong, the bi-encoder cannot be loaded, or the checkpoint comes
            from another run.
    """
    config = read_config(path, data=data, output=output, changes=changes)
    if config.data.layout != "pointwise":
        raise InputError(f"{path}: data.layout: a bi-encoder needs pointwise rows, not {config.data.layout} ones")
    if not config.data.teacher:
        raise InputError(
            f"{path}: a bi-encoder learns from data.teacher; set it, as in --set data.teacher=limrank-smol"
        )
    groups = teach(config.data, mix(config.data, config.seed), config.teacher_cache).groups
    check_learnable(groups, {"distill"}, taught=True)
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss
    from transformers import set_seed

    from limrank_ir.engines.out_of_memory import within_memory

    settings = arguments(config, path, SentenceTransformerTrainingArguments)
    checkpoint = last_checkpoint(config, resume=resume)
    if settings.process_index == 0:
        check_settings(config, data_hash(groups), SETTINGS, start={"bi-encoder": teacher_identity(start)})
    set_seed(config.seed)
    model = _loaded(start, config)
    datasets = _datasets(groups)
    settings.prompts = _prompts(model, datasets) or None
    trainer = SentenceTransformerTrainer(
        model=model,
        args=settings,
        train_dataset=datasets,
        loss=DistillKLDivLoss(model, similarity_fct=scaled_cosine),
    )
    with within_memory(str(path), SAVE_MEMORY):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    folder = config.output / "bi-encoder"
    model.save_pretrained(str(folder))
    return folder


def scaled_cosine(queries: Tensor, passages: Tensor) -> Tensor:
    """The student's log-odds of pairs of embeddings."""
    from sentence_transformers.util import pairwise_cos_sim

    return SCALE * pairwise_cos_sim(queries, passages)


def _loaded(start: str, config: TrainConfig) -> Any:
    from sentence_transformers import SentenceTransformer

    name = str(minilm.folder("--bi-encoder")) if start == minilm.NAME else start
    try:
        model = SentenceTransformer(name)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"--bi-encoder {start}: cannot be loaded ({reason}); check the name") from error
    model.max_seq_length = min(config.data.cutoff, model.max_seq_length or config.data.cutoff)
    return model


def _prompts(model: Any, datasets: Any) -> dict[str, str]:
    """The model's own prompts for each column, with which it is used afterwards; the trainer knows none by itself."""
    of_query, of_passage = (model.prompts.get(name) or "" for name in ("query", "document"))
    columns = {column for rows in datasets.values() for column in rows.column_names if column != "label"}
    prompts = {column: of_query if column == "query" else of_passage for column in sorted(columns)}
    return {column: prompt for column, prompt in prompts.items() if prompt}


def _datasets(groups: Sequence[Group]) -> Any:
    """A data set for each number of passages, as the passages of a query are columns."""
    from datasets import Dataset

    rows: dict[str, list[dict[str, Any]]] = {}
    for group in groups:
        if len(group.candidates) < 2 or group.candidates[0].teacher is None:
            continue
        query = f"{group.instruction} {group.query}" if group.instruction else group.query
        passages = {f"passage_{number}": each.text for number, each in enumerate(group.candidates)}
        row = {"query": query, **passages, "label": [each.teacher for each in group.candidates]}
        rows.setdefault(str(len(passages)), []).append(row)
    return {size: Dataset.from_list(same) for size, same in sorted(rows.items())}
