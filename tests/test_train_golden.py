"""Rows against the released recipe: LLaMA-Factory's cut, and the steps, tokens, and losses of trl's SFTTrainer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from limrank_ir.prompts import RANK1
from limrank_ir.train.config import read_config
from limrank_ir.train.dry_run import _steps, dry_run
from limrank_ir.train.encode import proportional_lengths
from limrank_ir.train.mixture import mix
from limrank_ir.train.run import train
from tests.training import write_config, write_rows

CONFIGS = Path(__file__).parents[1] / "train" / "configs"

# What LLaMA-Factory's `infer_seqlen` returned for (prompt, response, cutoff).
PUBLISHED = {
    (41, 1041, 2500): (41, 1041),
    (3000, 1000, 2500): (1500, 1000),
    (3000, 1249, 2500): (1251, 1249),
    (3000, 1250, 2500): (1765, 735),
    (1000, 4000, 2500): (1000, 1500),
    (1249, 1251, 2500): (1249, 1251),
    (1250, 1250, 2500): (1250, 1250),
    (1250, 5000, 2500): (500, 2000),
    (5000, 2000, 2500): (1786, 714),
    (60, 50, 101): (51, 50),
    (60, 51, 101): (55, 46),
    (50, 60, 101): (50, 51),
}


@pytest.mark.parametrize(("lengths", "kept"), PUBLISHED.items())
def test_the_cut_is_llama_factorys(lengths, kept):
    assert proportional_lengths(*lengths) == kept


# Five rows in batches of two, two batches a step: in each epoch, the second step has one batch of one row.
TRAINING = {
    "max_steps": -1,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "save_strategy": "no",
}
CUTOFF = 72


def alpaca(query: str, passage: str, thought: str, label: str) -> dict[str, str]:
    """A row like the released ones: the prompt before the tag, and the response, which begins with the tag."""
    instruction, given = RANK1.before.format(query=query).split("\n", 1)
    output = f"<think>\n{thought}\n</think> {label}"
    return {"instruction": instruction, "input": f"{given}{passage}\n", "output": output}


ROWS = [
    alpaca("what is red?", "the thing is red", "It names red.", "true"),
    alpaca("what is red?", "because of the rain", "It does not say what is red. Rain is not.", "false"),
    alpaca("what is red?", "a dog" + " and another dog" * 20, "No.", "false"),  # the passage is cut
    alpaca(
        "why?", "because of the rain", "It says why." + " It does." * 20, "true"
    ),  # the response is cut, and has no verdict
    alpaca("why? " * 12, "a dog " * 9, "A dog is no reason." + " Is it?" * 9, "false"),  # both are cut
]


def published_ids(tokenizer, row: dict[str, str]) -> dict[str, list[int]]:
    """A row's tokens by the released recipe: prompt and response apart, cut in proportion, and no end token."""
    prompt = tokenizer(f"{row['instruction']}\n{row['input']}", add_special_tokens=False).input_ids
    response = tokenizer(row["output"], add_special_tokens=False).input_ids
    first, second = proportional_lengths(len(prompt), len(response), CUTOFF)
    return {"input_ids": prompt[:first] + response[:second], "completion_mask": [0] * first + [1] * second}


def test_a_run_on_rows_equals_trls(smol_folder, tmp_path):
    from datasets import Dataset
    from transformers import AutoTokenizer, set_seed
    from trl import SFTConfig, SFTTrainer

    from limrank_ir.train.model import load_model

    write_rows(tmp_path / "rows.jsonl", ROWS)
    path = write_config(
        tmp_path / "run.yaml",
        "limrank-smol-untrained",
        prompt_format=None,
        objectives={"traces": 1.0},
        data={"layout": "rows", "cut": "proportional", "cutoff": CUTOFF, "open_licenses_only": False},
        lora={"layers": [28, 29]},  # the last ones, so that the way back is short
        training=TRAINING,
    )
    report = dry_run(path)
    record = json.loads((train(path).parent / "run.json").read_text())
    ours = [entry for entry in record["history"] if "loss" in entry]

    config = read_config(path)
    tokenizer = AutoTokenizer.from_pretrained(smol_folder)
    thoughts = {row["output"].split("\n")[1].strip(): row for row in ROWS}
    drawn = [thoughts[group.candidates[0].reasoning] for group in mix(config.data, config.seed)]
    rows = [published_ids(tokenizer, row) for row in drawn]  # in our order; both trainers shuffle it in the same way
    set_seed(config.seed)
    settings = SFTConfig(
        output_dir=str(tmp_path / "trl"),
        seed=config.seed,
        data_seed=config.seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        completion_only_loss=True,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        **TRAINING,
    )
    theirs = SFTTrainer(
        model=load_model(config, smol_folder, tokenizer, pack=False),
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    final = theirs.train().training_loss
    expected = [entry for entry in theirs.state.log_history if "loss" in entry]

    assert report.steps == record["steps"] == theirs.state.global_step == len(expected) == 4
    assert (report.examples, report.batch) == (5, 4)
    masks = [row["completion_mask"] for row in rows]
    assert report.tokens == (sum(map(len, masks)), sum(map(sum, masks)))
    assert [entry["num_tokens"] for entry in ours] == [entry["num_tokens"] for entry in expected]
    assert ours[-1]["num_tokens"] == 2 * report.tokens[0]
    assert [entry["loss"] for entry in ours] == pytest.approx([entry["loss"] for entry in expected], abs=1e-4)
    assert record["metrics"]["train_loss"] == pytest.approx(final, abs=1e-4)


@pytest.mark.parametrize(("name", "steps"), [("limrank-7b", 5 * 157), ("limrank-7b-released", 7 * 313)])
def test_the_7b_configurations_take_the_published_number_of_steps(name, steps):
    """20,000 rows on 2 GPUs in steps of 128 and 64; the last step of an epoch has 32 rows in both."""
    settings = SimpleNamespace(max_steps=-1, **read_config(CONFIGS / f"{name}.yaml").training)
    assert _steps(math.ceil(20_000 / (2 * settings.per_device_train_batch_size)), settings) == steps
