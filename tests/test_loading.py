"""Models and adapters are loaded completely or not at all: no tensor is made up, and none is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from limrank_ir import InputError, LimRank
from limrank_ir.engines.adapters import BASE_RECORD, merged
from limrank_ir.engines.base_models import causal_model, check_model
from limrank_ir.formats.checkpoint import fingerprint
from tests.tiny import make

PAIR = [("copy a file", "shutil.copy copies a file")]


@pytest.fixture(scope="module")
def base(tmp_path_factory, smol_folder):
    return make(tmp_path_factory.mktemp("base"), smol_folder)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, base):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    lora = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"))
    for name, parameter in lora.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    folder = tmp_path_factory.mktemp("adapter")
    lora.save_pretrained(folder)
    return folder


@pytest.fixture
def model_copy(base, tmp_path):
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture
def adapter_copy(adapter, tmp_path):
    return Path(shutil.copytree(adapter, tmp_path / "adapter"))


def judge(model: Path, adapter: Path | None = None, **options: object) -> float:
    name = None if adapter is None else str(adapter)
    limrank = LimRank(str(model), adapter=name, prompt_format="rank1", think="never", device="cpu", **options)
    return float(limrank.predict(PAIR)[0])


def edit_tensors(folder: Path, change, name: str = "model.safetensors") -> None:
    save_file(change(load_file(folder / name)), folder / name, metadata={"format": "pt"})


def edit_config(folder: Path, name: str = "config.json", **values: object) -> None:
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))


MISSING = {
    "a layer": lambda tensors: {name: value for name, value in tensors.items() if ".layers.0." not in name},
    "a tensor": lambda tensors: {name: value for name, value in tensors.items() if name != "model.norm.weight"},
    "the head": lambda tensors: {name: value for name, value in tensors.items() if name != "lm_head.weight"},
    "all, under other names": lambda tensors: {f"transformer.{name}": value for name, value in tensors.items()},
}


@pytest.mark.parametrize("change", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("allow_mismatch", [False, True])
def test_a_model_with_missing_weights_is_never_used(model_copy, change, allow_mismatch, capfd):
    edit_tensors(model_copy, change)
    with pytest.raises(InputError, match=r"missing the tensor.*download the files again") as caught:
        judge(model_copy, allow_mismatch=allow_mismatch)
    assert str(model_copy) in str(caught.value) and "\n" not in str(caught.value)
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


def test_more_layers_than_in_the_configuration_are_an_error(model_copy):
    edit_config(model_copy, num_hidden_layers=1)
    with pytest.raises(InputError, match=r"has no place.*allow_mismatch=True") as caught:
        judge(model_copy)
    assert "model.layers.1." in str(caught.value)
    assert judge(model_copy, allow_mismatch=True) == judge(model_copy, allow_mismatch=True)


def test_buffers_that_every_model_computes_are_accepted(model_copy, base):
    edit_tensors(model_copy, lambda tensors: {**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)})
    assert judge(model_copy) == judge(base)


def test_tied_embeddings_need_no_separate_head(tmp_path, smol_folder):
    folder = make(tmp_path, smol_folder, "qwen2", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    judge(folder)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_classifier_is_refused(tmp_path, smol_folder, family):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    make(tmp_path, smol_folder, family)
    config = AutoConfig.from_pretrained(tmp_path, num_labels=1, tie_word_embeddings=True)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="ForSequenceClassification, not a causal language model"):
        judge(tmp_path)
    edit_config(tmp_path, architectures=None)  # now only its head reveals it
    with pytest.raises(InputError, match=r"score\.weight"):
        judge(tmp_path)


def test_an_adapter_as_the_model_is_refused(adapter):
    with pytest.raises(InputError, match="an adapter, not a model; give its base model"):
        check_model(adapter)


def test_a_complete_adapter_is_merged(base, adapter):
    assert abs(judge(base, adapter) - judge(base)) > 1e-3


def _half(tensors):
    return {name: value for name, value in tensors.items() if ".layers.0." not in name}


def _renamed(tensors):
    return {name.replace("base_model.model.model.", "base_model.model.transformer."): v for name, v in tensors.items()}


def _more(tensors):
    name = next(iter(tensors))
    return {**tensors, name.replace(".layers.0.", ".layers.7."): tensors[name].clone()}


BAD_ADAPTERS = {
    "half its layers": (_half, r"missing the tensors model\.layers\.0\."),
    "other names": (_renamed, r"missing the tensors .* the base model has no place for the tensors transformer\."),
    "one tensor": (lambda tensors: {"x": torch.zeros(1)}, r"no place for the tensor x"),
    "one layer too many": (_more, r"the base model has no place for the tensor model\.layers\.7\."),
    "another rank": (
        lambda tensors: {name: value[:1] for name, value in tensors.items()},
        r"weight has shape \[1, 64\]; expected \[2, 64\]",
    ),
    "not a number": (
        lambda tensors: {name: value * float("nan") for name, value in tensors.items()},
        r"NaN or infinity in the tensors",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_ADAPTERS.values(), ids=BAD_ADAPTERS)
def test_an_adapter_that_does_not_fit_completely_is_never_used(base, adapter_copy, change, message):
    edit_tensors(adapter_copy, change, "adapter_model.safetensors")
    with pytest.raises(InputError, match=message) as caught:
        judge(base, adapter_copy)
    assert str(caught.value).startswith(f"{adapter_copy}: ") and "\n" not in str(caught.value)


BAD_SETTINGS = {
    "a classifier's": ({"task_type": "SEQ_CLS"}, r"an adapter for a .*SEQ_CLS model"),
    "not LoRA": ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}, r"does not fit the base|cannot be merged"),
    "other modules": ({"target_modules": ["nothing"]}, r"does not fit the base model"),
}


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_an_adapter_of_another_kind_is_refused(base, adapter_copy, settings, message):
    edit_config(adapter_copy, "adapter_config.json", **settings)
    with pytest.raises(InputError, match=message):
        judge(base, adapter_copy)


def test_a_folder_without_an_adapter_is_refused(base, tmp_path):
    with pytest.raises(InputError, match=r"no adapter_config\.json"):
        judge(base, tmp_path)
    shutil.copy(base / "config.json", tmp_path / "adapter_config.json")
    with pytest.raises(InputError, match="not the settings of a PEFT adapter"):
        judge(base, tmp_path)


def _merge(base, adapter, name, identity=None, **options):
    model = causal_model(base)
    return merged(model, adapter, vocabulary=10, base=name, identity=identity, **options)


@pytest.mark.parametrize("name", ["owner/base", "copier/Base", None])
def test_an_adapter_for_this_base_is_accepted(base, adapter_copy, name):
    edit_config(adapter_copy, "adapter_config.json", base_model_name_or_path="owner/base")
    _merge(base, adapter_copy, name)


def test_an_adapter_that_names_another_base_is_refused(base, adapter_copy):
    edit_config(adapter_copy, "adapter_config.json", base_model_name_or_path="owner/base-instruct")
    with pytest.raises(InputError, match=r"made for owner/base-instruct, not for owner/base; .*allow_mismatch=True"):
        _merge(base, adapter_copy, "owner/base")
    _merge(base, adapter_copy, "owner/base", allow_mismatch=True)


@pytest.mark.parametrize("path", ["/home/somebody/base", "../base", None, ""])
def test_a_folder_on_another_machine_names_no_base(base, adapter_copy, path):
    edit_config(adapter_copy, "adapter_config.json", base_model_name_or_path=path)
    _merge(base, adapter_copy, "owner/base")


def test_a_recorded_base_is_compared_by_its_content(base, adapter_copy):
    (adapter_copy / BASE_RECORD).write_text(json.dumps({"base": fingerprint(base)}))
    edit_config(adapter_copy, "adapter_config.json", base_model_name_or_path="owner/anything")
    _merge(base, adapter_copy, "owner/base", fingerprint(base))  # the content counts, not the name
    with pytest.raises(InputError, match="trained on other weights"):
        _merge(base, adapter_copy, "owner/base", "0123")
    _merge(base, adapter_copy, "owner/base", "0123", allow_mismatch=True)


def test_the_shipped_adapter_names_its_base_by_content():
    from limrank_ir.models import DEFAULT, resolve
    from limrank_ir.weights import identity

    shipped = resolve(DEFAULT)
    assert json.loads((Path(shipped.adapter) / BASE_RECORD).read_text()) == {"base": identity(shipped.weights)}


def test_embeddings_that_peft_saved_twice_are_accepted(base, adapter, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"], task_type="CAUSAL_LM"),
    )
    model.save_pretrained(tmp_path, save_embedding_layers=True)
    assert any("modules_to_save" in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    assert judge(base, tmp_path) == pytest.approx(judge(base), abs=1e-4)
    edit_config(tmp_path, "adapter_config.json", modules_to_save=None)
    with pytest.raises(InputError, match="the base model has no place for the tensor"):
        judge(base, tmp_path)
