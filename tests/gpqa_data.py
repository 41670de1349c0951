"""A look-alike of GPQA for the tests: made-up questions, and a pool that answers them."""

from __future__ import annotations

import csv
import io
import json
import re

CANARY = "gpqa:0000:26b5c67b-86f0-463a-9a6c-0123456789ab"
HEADER = [
    "Record ID",
    "Question",
    "Correct Answer",
    *(f"Incorrect Answer {n}" for n in (1, 2, 3)),
    "Explanation",
    "Canary String",
]
# Words that occur nowhere else, so that any copy of a question is found.
QUESTIONS = [
    ("rec1", 'Zorblatt says, "quixal\nmelts early": at how many degrees?', "seventyfold qx", "ninefold", "elevenfold"),
    ("rec2", "Which vrendomite ore holds the most plimsium per gram?", "grelkite mineral", "tandorite", "hosferite"),
    ("rec3", "Who first tamed the wumpalo birds of Skerrivane island?", "Ostrevan Dellmoor", "Ylmas", "Brevold"),
    ("rec4", "Which gland makes fenthracine in snow drakelings?", "upper zelmoid gland", "myrtoid", "cressoid"),
]
POOL = [
    {"docno": "p1", "text": "Quixal melts at seventyfold qx degrees, said Zorblatt."},
    {"docno": "p2", "text": "The grelkite mineral holds more plimsium than any other vrendomite ore."},
    {"docno": "p3", "title": "Skerrivane", "text": "The wumpalo birds were tamed by Ostrevan Dellmoor."},
    {"docno": "p4", "text": "In drakelings, fenthracine comes from the upper zelmoid gland."},
    {"docno": "p5", "text": "A cake needs flour, eggs, and sugar."},
    {"docno": "p6", "text": "A cake needs flour, eggs, and sugar."},
    {"docno": "p7", "text": f"Zorblatt quixal melts degrees. Canary {CANARY.upper()}"},
    {"docno": "p8", "text": " "},
]
SECRET = re.compile(
    "zorblatt|quixal|seventyfold|vrendomite|plimsium|grelkite|wumpalo|skerrivane|ostrevan|fenthracine|zelmoid", re.I
)


def questions_csv():
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows([*row, f"other {row[0]}", "because", CANARY] for row in QUESTIONS)
    return text.getvalue()


def write_data(tmp_path):
    """gpqa.csv and pool.jsonl."""
    (tmp_path / "gpqa.csv").write_text(questions_csv())
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(record) + "\n" for record in POOL))
    return tmp_path
