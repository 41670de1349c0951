"""An engine that knows how relevant passages are: the last number in each. It keeps what it was asked."""

from __future__ import annotations

import json
import re

from limrank_ir.verdict import Attended, Reading, Written


def grades(prompt):
    """The last number in each passage of a prompt, 0 without one."""
    texts = [prompt.passage[start:end] for start, end in prompt.passages]
    return [int((re.findall(r"\d+", text) or ["0"])[-1]) for text in texts]


class Knows:
    """Reads and writes the truth.

    Attributes:
        identity: as of any engine.
        asked: the prompts that it answered.
        calls: (labels, None for a text, or "attention"; number of prompts; done) of each call.
        stops_after: raise KeyboardInterrupt after this many prompts.
        batch: prompts in a batch.
    """

    def __init__(self, identity="knows", *, stops_after=None, batch=2):
        self.identity, self.stops_after, self.batch = identity, stops_after, batch
        self.asked, self.calls = [], []

    def __repr__(self):
        return "Knows()"

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        self.calls.append((tuple(labels), len(prompts), done))
        for batch in self._batches(prompts, done):
            yield [(place, self._reading(prompts[place], labels)) for place in batch]

    def write(self, prompts, *, budget, stop=(), done=frozenset()):
        self.calls.append((None, len(prompts), done))
        for batch in self._batches(prompts, done):
            yield [(place, self._text(prompts[place], budget, stop)) for place in batch]

    def attend(self, pairs, *, done=frozenset()):
        prompts = [asked for asked, _ in pairs]
        self.calls.append(("attention", len(prompts), done))
        for batch in self._batches(prompts, done):
            yield [(place, self._attended(prompts[place])) for place in batch]

    def _attended(self, prompt):
        known = grades(prompt)
        return Attended(tuple(map(float, known)), 10 * len(known), cut_tokens=known[0] == 99)

    def _batches(self, prompts, done):
        left = [place for place in range(len(prompts)) if place not in done]
        for start in range(0, len(left), self.batch):
            if self.stops_after is not None and len(self.asked) >= self.stops_after:
                raise KeyboardInterrupt
            batch = left[start : start + self.batch]
            self.asked += [prompts[place] for place in batch]
            yield batch

    def _reading(self, prompt, labels):
        known = grades(prompt)
        if len(labels) == len(known) and len(labels) > 1:  # identifiers
            values = [grade - 100.0 for grade in known]
        elif len(labels) == 2:  # true and false
            values = [known[0] - 100.0, -known[0] - 100.0]
        else:
            values = [-abs(known[0] - place) - 1.0 for place in range(len(labels))]
        return Reading(tuple(values), None, 10 * len(known), 0, "verdict", cut_tokens=known[0] == 99)

    def _text(self, prompt, budget, stop):
        known = grades(prompt)
        order = sorted(range(len(known)), key=lambda place: -known[place])
        if "JSON" in prompt.suffix:
            text = json.dumps({f"[{place + 1}]": grade for place, grade in enumerate(known)})
        elif "label of the most" in prompt.suffix:
            text = f" [{order[0] + 1}]"
        else:
            text = " > ".join(f"[{place + 1}]" for place in order)
        text += stop[0] if stop else ""
        return Written(text, 10 * len(known), 5, "stop" if stop else "budget")
