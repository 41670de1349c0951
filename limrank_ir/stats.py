"""What one call to `limrank_ir.LimRank.judge` did."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from limrank_ir.prompts import Prompt
from limrank_ir.verdict import Verdict


@dataclass(slots=True)
class JudgeStats:
    """Statistics of one call to `LimRank.judge`.

    Attributes:
        pairs: the number of pairs passed in.
        unique: different pairs among them.
        stored: unique pairs whose verdicts were in the store.
        judged: unique pairs that the model judged.
        cut: unique pairs whose passage was cut, now or when their verdict was stored.
        cut_tokens: the number of tokens that were cut.
        cleaned: unique pairs from which reserved strings were removed (`limrank_ir.prompts.clean`).
        thoughts: unique pairs about which the model thought, now or when their verdict was stored.
        forced: unique pairs whose thought ended without a verdict, so that it was forced.
        tokens: prompt and reasoning tokens of the judged pairs.
        seconds: wall-clock time.
        label_mass: mean probability of both labels together (`Verdict.label_mass`), or None if it is not known.
    """

    pairs: int = 0
    unique: int = 0
    stored: int = 0
    judged: int = 0
    cut: int = 0
    cut_tokens: int = 0
    cleaned: int = 0
    thoughts: int = 0
    forced: int = 0
    tokens: int = 0
    seconds: float = 0.0
    label_mass: float | None = None
    _masses: int = 0

    def count(self, verdict: Verdict, prompt: Prompt, *, stored: bool) -> None:
        """Add a verdict to the statistics."""
        self.stored += stored
        self.judged += not stored
        self.cut += verdict.cut_tokens > 0
        self.cut_tokens += verdict.cut_tokens
        self.cleaned += prompt.cleaned
        self.thoughts += verdict.reasoning is not None
        self.forced += verdict.finish != "verdict"
        self.tokens += 0 if stored else verdict.prompt_tokens + verdict.reasoning_tokens
        if verdict.label_mass is not None:
            before = self.label_mass or 0.0
            self._masses += 1
            self.label_mass = before + (verdict.label_mass - before) / self._masses

    def figures(self) -> dict[str, float | None]:
        """The attributes by name, as `limrank rerank --json` prints them."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}

    def add_thoughts(self, other: JudgeStats) -> None:
        """Add the thoughts about pairs that were counted before."""
        self.thoughts += other.thoughts
        self.forced += other.forced
        self.tokens += other.tokens

    def remarks(self) -> list[str]:
        """What the user should know about how the text was read, in one sentence each."""
        remarks = []
        if self.cut:
            remarks.append(f"{self.cut} of {self.unique} passages were cut to fit ({self.cut_tokens} tokens in all)")
        if self.cleaned:
            remarks.append(f"reserved strings were removed from {self.cleaned} of {self.unique} pairs")
        if self.forced:
            remarks.append(f"{self.forced} of {self.thoughts} thoughts ended without a verdict, so it was forced")
        return remarks
