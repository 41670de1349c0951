"""Texts as words, for comparing them."""

from __future__ import annotations

import re
import unicodedata

_LISTED = """
    a about above after again against all also although am an and any are as at be because been before being below
    between both but by can cannot could did do does doing down during each either even every few for from further
    had has have having he her here hers him his how however i if in into is it its itself just like many may me
    might more most much must my neither no nor not now of off often on once one only or other our out over own per
    rather same she should since so some still such than that the their them then there these they this those
    though through thus to too two under until up upon us use used using very was we were what when where whether
    which while who whose why will with within without would yes yet you your
"""
STOP_WORDS = frozenset(_LISTED.split())
"""Function words."""


def words(text: str) -> list[str]:
    """Split a text into words, without what copies of one text differ in.

    Copies differ in Unicode's form (NFD, full-width letters), case, accents ("cafe"), punctuation, and characters that
    nobody sees (soft hyphens, zero-width spaces). No two benchmark queries differ in these only.

    Args:
        text: the text.

    Returns:
        The words in order: NFKC, case-folded, without marks and format characters.
    """
    if not text.isascii():
        plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
        text = "".join(letter for letter in plain if unicodedata.category(letter) not in ("Cf", "Mn", "Me"))
    return re.findall(r"[^\W_]+", text.casefold())
