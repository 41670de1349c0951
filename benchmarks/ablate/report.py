"""The output folder of an ablation: results.md, results.json, and plot.png; and the plan of a dry run."""

from __future__ import annotations

import json
import os
import secrets
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limrank_ir.formats.files import replacing
from limrank_ir.formats.words import duration

from ..folder import write_json
from ..markdown import Table, markdown
from .config import AblateConfig
from .results import CONFIDENCE, MEASURE, NOT_SHOWN, VARIANTS, Ablation, Difference, Spread, Variant

if TYPE_CHECKING:
    from .run import Job

NOTHING = "\u2013"
_MINUS = "\u2212"
NOTES = (
    f"sd: the sample standard deviation over the seeds. Intervals: {CONFIDENCE:.0%}, by Student's t; with three seeds, "
    "an interval over seeds reaches 2.5 standard deviations to each side.",
    "Differences over seeds: of the means over the collections, paired by seed. Over collections: of the means over "
    "the seeds, paired by collection. p: paired t-tests, with Holm's correction over the points.",
    f"A point is called better or worse only if both are significant at 0.05, in the same direction; otherwise the "
    f"difference is {NOT_SHOWN}, which does not mean that there is none.",
    "Above, below: in how many of the (seed, collection) the point is above or below the reference by at least 0.0005.",
    "A point that is not trained has one figure, which is compared with that of each seed.",
)


def write_report(found: Ablation, output: Path) -> None:
    """Write all files.

    Args:
        found: the results.
        output: the folder.

    Raises:
        InputError: a file cannot be written.
    """
    from .plot import png

    write_json(output / "results.json", found.as_json())
    with replacing(output / "results.md") as file:
        file.write(text(found))
    image = output / "plot.png"
    temporary = image.with_name(f".{image.name}.{secrets.token_hex(4)}")
    temporary.write_bytes(png(found))
    os.replace(temporary, image)


def text(found: Ablation) -> str:
    """The results in Markdown.

    Args:
        found: the results.
    """
    settings = found.settings
    queries = "all judged queries" if settings["queries"] is None else f"{settings['queries']} queries each"
    limit = settings["max_length"]
    cut = "" if limit is None else f" Passages are cut where a prompt exceeds {limit} tokens."
    parts = [
        f"# {headline(found)}",
        f"{MEASURE}, mean over {len(found.collections)} collections ({', '.join(found.collections)}), {queries}, the "
        f"first stage's top {settings['k']} documents unless a point says otherwise.{cut}",
        "**Incomplete:** " + "; ".join(found.failures) if found.failures else "",
        "![Means and differences](plot.png)",
        f"## Points\n\n{markdown(points(found), left=(0, 1))}",
        f"## Differences from {found.reference}\n\n{markdown(differences(found), left=(0, 1, 8))}",
        "\n".join(f"- {note}" for note in NOTES),
        *(f"## Collections, {variant}\n\n{markdown(by_collection(found, variant))}" for variant in VARIANTS),
        f"## Seeds\n\n{markdown(by_seed(found))}",
        "## How this was made\n\n" + "\n".join(f"- {name}: `{value}`" for name, value in found.environment.items()),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def headline(found: Ablation) -> str:
    """What was shown, in one line.

    Args:
        found: the results.
    """
    shown = [
        f"{name} {'is' if variant == 'alone' else 'fused is'} {difference.finding}"
        for variant in VARIANTS
        for name, difference in found.differences[variant].items()
        if difference.finding != NOT_SHOWN
    ]
    if not shown:
        return f"No point is shown to differ from {found.reference}"
    return f"Compared with {found.reference}: {'; '.join(shown)}"


def points(found: Ablation) -> Table:
    """Means and spreads, one row for each point."""
    header = ["", "what it is", "seeds", "k", "steps"]
    for variant in VARIANTS:
        header += [variant, "sd", "interval"]
    rows = []
    for name, about in found.points.items():
        runs = found.of(name)
        steps = {run.training.get("steps") for run in runs}
        row = [name, about, str(len(runs)) if runs[0].seed is not None else NOTHING, str(runs[0].k)]
        row.append(NOTHING if None in steps else ", ".join(f"{step:,}" for step in sorted(filter(None, steps))))
        for variant in VARIANTS:
            row += _spread(found.spreads[variant][name])
        rows.append(row)
    first = statistics.fmean(found.of(next(iter(found.points)))[0].first_stage.values())
    rows.append(["first stage", "", NOTHING, NOTHING, NOTHING, f"{first:.3f}", *[""] * 5])
    return header, rows


def _spread(found: Spread) -> list[str]:
    return [f"{found.mean:.3f}", NOTHING if found.sd is None else f"{found.sd:.3f}", interval(found.interval)]


def differences(found: Ablation) -> Table:
    """Each point against the reference, alone and fused."""
    header = ["", "", "difference", "over seeds", "p", "over collections", "p", "above, below", "finding"]
    rows = [
        [name, variant, *_difference(difference)]
        for name in found.points
        for variant in VARIANTS
        if (difference := found.differences[variant].get(name)) is not None
    ]
    return header, rows


def _difference(found: Difference) -> list[str]:
    return [
        signed(found.seeds.difference),
        interval(found.seeds.interval, signed),
        _p(found.seeds.p),
        interval(found.collections.interval, signed),
        _p(found.collections.p),
        f"{found.above}, {found.below} of {found.cells}",
        found.finding,
    ]


def by_collection(found: Ablation, variant: Variant) -> Table:
    """Mean and standard deviation over the seeds, one row for each collection."""
    rows = []
    for collection in found.collections:
        first = found.of(next(iter(found.points)))[0].first_stage[collection]
        row = [collection, f"{first:.3f}"]
        for name in found.points:
            values = [run.figures[variant][collection] for run in found.of(name)]
            sd = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            row.append(f"{statistics.fmean(values):.3f}{sd}")
        rows.append(row)
    return ["", "first stage", *found.points], rows


def by_seed(found: Ablation) -> Table:
    """Each training with its figures."""
    rows = []
    for run in found.measured:
        seconds = run.training.get("seconds")
        seed = NOTHING if run.seed is None else str(run.seed)
        took = NOTHING if seconds is None else duration(seconds)
        rows.append([run.point, seed, *(f"{run.mean(variant):.3f}" for variant in VARIANTS), took])
    return ["", "seed", *VARIANTS, "training"], rows


def plan_table(config: AblateConfig, jobs: Sequence[Job]) -> Table:
    """What would be done, one row for each point.

    Args:
        config: the ablation.
        jobs: all jobs, with their steps.

    Returns:
        Header and rows.
    """
    rows = []
    for name, point in config.points.items():
        own = [job for job in jobs if job.point == name]
        given = point.model_dump(mode="json", exclude_defaults=True, exclude={"about"})
        settings = json.dumps(given, ensure_ascii=False) if given else NOTHING
        seeds = str(sum(job.plan is not None for job in own))
        rows.append([name, settings, seeds, f"{own[0].steps:,}", f"{sum(job.steps for job in own):,}", str(own[0].k)])
    total = sum(job.steps for job in jobs)
    rows.append(["all", NOTHING, str(sum(job.plan is not None for job in jobs)), "", f"{total:,}", ""])
    return ["point", "differs by", "trainings", "steps of each", "steps", "k"], rows


def signed(value: float) -> str:
    """A difference: ``+0.042``."""
    rounded = f"{value:+.3f}"
    return rounded.lstrip("+-") if rounded.strip("+-0.") == "" else rounded.replace("-", _MINUS)


def interval(found: tuple[float, float] | None, form: Callable[[float], str] = "{:.3f}".format) -> str:
    """An interval: ``0.512 to 0.584``."""
    return NOTHING if found is None else f"{form(found[0])} to {form(found[1])}"


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"
