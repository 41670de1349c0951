"""What asking an engine has cost."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass


@dataclass(slots=True)
class AskStats:
    """Statistics of all questions so far.

    Attributes:
        questions: questions that rankers asked.
        repeated: questions that were asked here before, or twice at once, so that their answer was known.
        stored: different questions whose answers were in the store, from an earlier run.
        reads: different questions that were read off the model.
        writes: different questions to which the model wrote an answer.
        tokens: tokens read and written for these.
        cut: answers to prompts whose passages were cut, now or when they were stored.
        cut_tokens: the number of tokens that were cut.
        cleaned: different prompts from whose texts something was removed (`limrank_ir.prompts.sets.clean_of_lists`).
        unfinished: thoughts, before an answer or a verdict, that used up their budget.
        unlikely: readings in which the model would rather say something else than one of the labels
            (`limrank_ir.reranker.LOW_MASS`).
        full: written answers without a thought that ended because they were as long as their format allows.
    """

    questions: int = 0
    repeated: int = 0
    stored: int = 0
    reads: int = 0
    writes: int = 0
    tokens: int = 0
    cut: int = 0
    cut_tokens: int = 0
    cleaned: int = 0
    unfinished: int = 0
    unlikely: int = 0
    full: int = 0

    def __sub__(self, before: AskStats) -> AskStats:
        """What was added since then."""
        return AskStats(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))

    @property
    def calls(self) -> int:
        """How many prompts the model has got."""
        return self.reads + self.writes

    def figures(self) -> dict[str, int]:
        """The attributes by name, with `calls`."""
        return {"calls": self.calls, **asdict(self)}

    def remarks(self) -> list[str]:
        """What the user should know about how texts were read and answers written, in one sentence each."""
        asked = self.calls + self.stored
        remarks = []
        if self.cut:
            remarks.append(
                f"passages were cut in {self.cut} of {asked} prompts to fit ({self.cut_tokens} tokens in all)"
            )
        if self.cleaned:
            remarks.append(f"reserved strings or identifiers were removed from the texts of {self.cleaned} prompts")
        if self.unfinished:
            remarks.append(f"{self.unfinished} of {asked} answers used up their budget; raise budget if it matters")
        if self.unlikely > asked / 2:
            remarks.append(
                f"in {self.unlikely} of {asked} readings, the model would rather say something else than a label; use "
                "a model that was trained for this ranker and format, or another ranker"
            )
        if self.full:
            remarks.append(f"{self.full} of {asked} answers were cut at the length that their format allows")
        return remarks
