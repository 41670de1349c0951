"""The prompt format of a model: a named one, or what the model's folder says in sentence-transformers' layout.

A causal reranker on the hub comes as a folder with `modules.json`, whose last module is a LogitScore: its
`config.json` has the token ids of the labels, `chat_template.jinja` the prompt, with messages of the roles query and
document, and `config_sentence_transformers.json` the instructions, which become a system message. These rules are those
of sentence-transformers 6.2: `cross_encoder/modules/logit_score.py` and `base/modality.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.models import IN_FOLDER, Model
from limrank_ir.prompts import FORMATS, PromptFormat, prompt_format
from limrank_ir.weights import locate

# Private characters mark where a template puts the texts. Their white space shows whether it strips them.
_MARKS = {name: f"\ue000{name}\ue001" for name in ("query", "document", "instruction")}


def model_format(model: Model) -> PromptFormat:
    """The prompt format of a model.

    Args:
        model: the model.

    Returns:
        The format with that name, or the one that is made from the model's folder.

    Raises:
        InputError: no format has that name, or the folder does not say how to read the model.
    """
    if model.prompt_format != IN_FOLDER:
        return prompt_format(model.prompt_format)
    folder = locate(model.weights, settings_only=True)
    modules = _json(folder / "modules.json", [])
    kinds = {str(module.get("type")).rpartition(".")[2]: module for module in modules}
    if "LogitScore" not in kinds:
        raise InputError(
            f"{model.name}: give the prompt format it was trained on, prompt_format={_names()} (--prompt-format); its "
            "folder does not say it (no LogitScore in modules.json)"
        )
    if any(module.get("path") for kind, module in kinds.items() if kind != "LogitScore"):
        raise InputError(f"{folder}: modules.json puts the weights into a folder of their own; give that folder")
    return _logit_score(folder, folder / str(kinds["LogitScore"].get("path", "1_LogitScore")))


def _logit_score(folder: Path, module: Path) -> PromptFormat:
    """The format of a LogitScore model."""
    score = _json(module / "config.json")
    labels = tuple(score[name] for name in ("true_token_id", "false_token_id") if score.get(name) is not None)
    if not labels or not all(isinstance(label, int) for label in labels):
        raise InputError(f"{module / 'config.json'}: true_token_id must be a token id, and false_token_id one or null")
    settings = _json(folder / "config_sentence_transformers.json", {})
    default = (settings.get("prompts") or {}).get(settings.get("default_prompt_name")) or None
    with_instruction = _rendered(folder, _MARKS["instruction"])
    bare = _rendered(folder, None)
    has_place = _MARKS["instruction"] in with_instruction
    before, after, strip = _split(folder, with_instruction if has_place else bare)
    return PromptFormat(
        name=IN_FOLDER,
        before=before,
        after=after,
        labels=labels,
        instruction=default if has_place else None,
        bare=_split(folder, bare)[:2] if has_place and default is None else None,
        start=False,
        strip=strip,
    )


def _rendered(folder: Path, system: str | None) -> str:
    """The prompt for the marks, by the model's own template and settings."""
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    config = _json(folder / "sentence_bert_config.json", {})
    structured = (config.get("modality_config") or {}).get("message", {}).get("format") == "structured"
    options = dict((config.get("processing_kwargs") or {}).get("chat_template") or {})
    options.pop("restore_suffix", None)  # sentence-transformers' own

    def message(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}] if structured else text}

    messages = [message(role, f" {_MARKS[role]} ") for role in ("query", "document")]
    if system is not None:
        messages.insert(0, message("system", system))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except (OSError, ValueError, TypeError, KeyError, TemplateError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{folder}: its chat template cannot render a query and a document ({reason})") from error


def _split(folder: Path, text: str) -> tuple[str, str, bool]:
    """The texts before and after the document, and whether white space around it is dropped."""
    for name in ("query", "document"):
        if (count := text.count(_MARKS[name])) != 1:
            raise InputError(f"{folder}: its chat template shows the {name} {count} times; it must be once")
    strip = f" {_MARKS['document']} " not in text
    for name, mark in _MARKS.items():
        text = text.replace(f" {mark} ", mark).replace(mark, f"{{{name}}}")
    before, _, after = text.partition("{document}")
    return before, after, strip


def _json(path: Path, default: Any = None) -> Any:
    """A JSON file, or the default value if there is one and no file."""
    if default is not None and not path.exists():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error


def _names() -> str:
    *names, last = (repr(name) for name in FORMATS)
    return f"{', '.join(names)} or {last}"
