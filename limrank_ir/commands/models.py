"""``limrank models``."""

from __future__ import annotations

import dataclasses

from limrank_ir import console
from limrank_ir import options as o
from limrank_ir.model_table import hardware, model_table
from limrank_ir.models import MODELS
from limrank_ir.output import write_json


def list_models(as_json: o.Json = False) -> None:
    """List the models that are known by name; folders and hub ids work, too.

    For example:

        limrank models
    """
    if as_json:
        write_json([{**dataclasses.asdict(model), "hardware": hardware(model)} for model in MODELS.values()])
    else:
        console.table(*model_table(), left=6)
