"""Facts that can be changed in a passage: numbers, and words of direction."""

from __future__ import annotations

import random
import re

NUMBER = re.compile(r"(?<![\w.,/:-])\d{1,3}(?:,\d{3})+(?![\w/:-]|[.,]\d)|(?<![\w.,/:-])\d+(?:\.\d+)?(?![\w/:-]|[.,]\d)")

# word -> its opposite; both sides of a line can be swapped
_LISTED = """
    higher lower | highest lowest | increase decrease | increases decreases | increased decreased
    increasing decreasing | greater smaller | larger smaller | largest smallest | large small | bigger smaller
    biggest smallest | more less | before after | above below | always never | hot cold
    hotter colder | hottest coldest | warm cool | warmer cooler | fast slow | faster slower | fastest slowest
    quickly slowly | strong weak | stronger weaker | strongest weakest | long short | longer shorter
    longest shortest | wide narrow | wider narrower | thick thin | thicker thinner | older younger | oldest youngest
    earliest latest | heavier lighter | heaviest lightest | deeper shallower | deep shallow
    positive negative | positively negatively | promotes inhibits | promote inhibit | promoted inhibited
    promoting inhibiting | activates inhibits | activation inhibition | upregulated downregulated
    upregulates downregulates | upregulation downregulation | improves worsens | improved worsened | improve worsen
    gain lose | gains loses | maximum minimum | northern southern | eastern western | north south | east west
    outside inside | winter summer | male female | males females | men women | mother father
    expands contracts | expand contract | absorbs emits | attract repel | easier harder | easy difficult
    safe dangerous | closer farther | nearest farthest | richer poorer | cheaper costlier | loud quiet | louder quieter
    upper lower | ascending descending | internal external | dominant recessive
"""
OPPOSITES: dict[str, str] = {}
for _pair in " | ".join(line.strip() for line in _LISTED.strip().splitlines()).split(" | "):
    _one, _other = _pair.split()
    OPPOSITES.setdefault(_one, _other)
    OPPOSITES.setdefault(_other, _one)


def numbers(text: str) -> set[str]:
    """The numbers of a text, as they are written."""
    return set(NUMBER.findall(text))


def another_number(text: str, number: str, taken: set[str], rng: random.Random) -> str | None:
    """A number that could stand in its place: a year near a year, otherwise of the same size and precision.

    Args:
        text: the text with the number.
        number: the number, as it is written.
        taken: numbers that it must not be.
        rng: what chooses.

    Returns:
        The other number, or None.
    """
    plain = number.replace(",", "")
    decimals = len(plain.partition(".")[2])
    value = float(plain)
    if re.fullmatch(r"1[5-9]\d\d|20[0-2]\d", number) and "=" not in text:
        others = [value + step for step in (-13, -11, -7, -6, -4, -3, 3, 4, 6, 7, 11, 13)]
    else:
        others = [value * step for step in (0.4, 0.5, 0.6, 0.75, 1.25, 1.5, 1.75, 2, 2.5, 3)]
    if re.search(rf"(?<![\d.]){number} ?(?:%|percent)", text):
        others = [other for other in others if other <= 100]
    written = {f"{other:{',' if ',' in number else ''}.{decimals}f}" for other in others}
    return rng.choice(sorted(written - taken - {number, "0"}) or [None])


def with_number(text: str, number: str, other: str) -> str:
    """Replace a number everywhere in a text."""
    return NUMBER.sub(lambda match: other if match[0] == number else match[0], text)


def with_opposite(text: str, word: str) -> str:
    """Replace a word of direction by its opposite everywhere in a text, in the same case."""

    def opposite(match: re.Match[str]) -> str:
        other = OPPOSITES[match[0].lower()]
        return other.capitalize() if match[0][0].isupper() else other

    return re.sub(rf"(?<![\w-]){word}(?![\w-])", opposite, text, flags=re.IGNORECASE)
