"""Prompt formats of other families: their scores are those of a slow transcription of each family's own rule."""

from __future__ import annotations

import math

import pytest
import torch

from limrank_ir import LimRank
from limrank_ir.engines.twice import TwiceEngine
from limrank_ir.errors import EngineError
from limrank_ir.models import MODELS
from limrank_ir.prompts import FORMATS
from limrank_ir.prompts.two_reads import up_to_ten, yes_no_grade
from limrank_ir.verdict import Reading, Verdict
from tests import tiny
from tests.command_line import one_thread

# The last ones end in a line break, which would join the one behind it if texts were joined before they are tokenized.
PAIRS = [
    ("how do I copy a file?", "shutil.copy(src, dst) copies a file."),
    ("how do I copy a file?", "Bake the cake for 40 minutes!"),
    ("capital of France", "Paris is the capital of France;"),
    ("What is 10 + 1?\n", "11\n"),
]


@pytest.fixture(autouse=True)
def _alone():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, smol_folder):
    return tiny.make(tmp_path_factory.mktemp("families") / "model", smol_folder, "qwen2", std=0.1)


@pytest.fixture(scope="module")
def plain(folder):
    """What the model says of the next token, one sequence at a time, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def next_logits(ids):
        return model(torch.tensor([ids])).logits[0, -1].double()

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return next_logits, lambda text: tokenizer(text, add_special_tokens=False).input_ids


def verdicts(folder, name, instruction=None, **options):
    triples = [(query, passage, instruction) for query, passage in PAIRS]
    return LimRank(str(folder), prompt_format=name, **options).judge(triples)


@pytest.mark.parametrize("instruction", [None, "Prefer short ones."])
def test_mxbai_scores_one_minus_zero_of_parts_that_are_tokenized_alone(folder, plain, instruction):
    next_logits, encode = plain
    task = (
        "You are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
        "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
    )
    start = (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n"
    )
    expected = []
    for query, passage in PAIRS:
        asked = f"query: {query}" if instruction is None else f"instruction: {instruction}\nquery: {query}"
        parts = [start, asked, "\n", f"document: {passage}", "\n", task, "<|im_end|>\n<|im_start|>assistant\n"]
        logits = next_logits([token for part in parts for token in encode(part)])
        expected.append(float(logits[encode("1")[0]] - logits[encode("0")[0]]))
    found = [verdict.log_odds for verdict in verdicts(folder, "mxbai-rerank-v2", instruction)]
    assert found == pytest.approx(expected, abs=1e-4)
    assert encode("?\n\ndocument") != encode("?\n") + encode("\n") + encode("document")  # or it would show less


def test_bge_gemma_scores_the_logit_of_yes(folder, plain):
    next_logits, encode = plain
    prompt = (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
        "prediction of either 'Yes' or 'No'."
    )
    expected = []
    for query, passage in PAIRS:
        parts = [f"A: {query}", "\n", f"B: {passage}", "\n", prompt]
        expected.append(float(next_logits([token for part in parts for token in encode(part)])[encode("Yes")[0]]))
    found = [verdict.log_odds for verdict in verdicts(folder, "bge-reranker-v2-gemma")]
    assert found == pytest.approx(expected, abs=1e-4)


def tfrank_prompt(query, passage):
    return (
        "<|im_start|>system\nBased on the relevance of the Documents to the Query and the Instruct provided to "
        "complete the task.\n<|im_end|>\n<|im_start|>user\n"
        "<Instruct>: Please judge the relevance strength between the query and the document, and directly output the "
        "relevance judgment (yes or no), followed by the relevance score in parentheses, e.g., yes(score) or no(score)."
        "\n\n\n- Relevance scores are represented by numbers from 0 to 4, with the following meanings:\n"
        "0 means completely irrelevant,\n1 means weakly relevant,\n2 means moderately relevant,\n"
        "3 means strongly relevant,\n4 means completely relevant.\n\n"
        "- For binary relevance judgment (yes or no), the rule is:\n"
        'Scores 0 and 1 are considered irrelevant and represented as "no",\n'
        'Scores 2, 3, and 4 are considered relevant and represented as "yes".\n\n\n'
        f"<Query>: {query}\n\n\n<Document>: {passage} /no think\n<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n"
    )


def test_tfrank_scores_the_mean_of_yes_and_the_expected_grade(folder, plain):
    next_logits, encode = plain
    expected = []
    for pair in PAIRS:
        ids = encode(tfrank_prompt(*pair))
        answers = next_logits(ids)[[encode(answer)[0] for answer in ("yes", "no")]].softmax(-1)
        chosen = "yes(" if answers[0] > answers[1] else "no("
        grades = next_logits(ids + encode(chosen))[[encode(str(grade))[0] for grade in range(5)]].softmax(-1)
        fine = sum(grade * float(share) for grade, share in enumerate(grades)) / 4
        expected.append((fine + float(answers[0])) / 2)
    assert [verdict.probability for verdict in verdicts(folder, "tfrank")] == pytest.approx(expected, abs=1e-5)


def test_erank_scores_the_expected_grade_up_to_ten(folder, plain):
    next_logits, encode = plain
    expected = []
    for query, passage in PAIRS:
        prompt = (
            "<|im_start|>user\nGiven a query and a document, please give a relevance score of 0~10.\n"
            "The goal or relevance definition is: Find it.\n\n"
            f"Here is the query:\n{query}\n\nHere is the document:\n{passage}\n\n"
            "After thinking, directly choose a relevance score from [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].\n"
            "- 0 represents completely not related\n- 10 means perfectly related.\n\nDesired output format:\n"
            "<think>put your thinking here</think><answer>Only allows an integer here</answer>\n\n"
            "Your output:<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n<answer>"
        )
        ids = encode(prompt)
        digits = next_logits(ids).softmax(-1)[[encode(str(grade))[0] for grade in range(10)]].tolist()
        ten = digits[1] * float(next_logits(ids + encode("1")).softmax(-1)[encode("0")[0]])
        shares = [digits[0], digits[1] - ten, *digits[2:], ten]
        expected.append(sum(grade * share for grade, share in enumerate(shares)) / sum(shares) / 10)
    found = verdicts(folder, "erank", "Find it.", think="never")
    assert [verdict.probability for verdict in found] == pytest.approx(expected, abs=1e-5)
    assert all(0 < verdict.label_mass < 1 for verdict in found)


def test_erank_thinks_and_then_gives_a_number_of_two_digits(tmp_path, smol_folder):
    folder = tiny.make(tmp_path / "model", smol_folder, "qwen2")
    fmt = FORMATS["erank"]
    query, passage = PAIRS[0]
    prompt = fmt.render(query, passage, think=True)
    tiny.teach(folder, {prompt.text: "\nIt fits.\n</think>\n\n<answer>10</answer>"}, steps=70)
    limrank = LimRank(str(folder), prompt_format="erank", budget=40)
    assert limrank.think == "always"
    (verdict,) = limrank.judge([(query, passage)])
    assert (verdict.finish, verdict.reasoning) == ("verdict", "It fits.")
    assert verdict.probability > 0.9  # 1, if the zero were not read
    assert limrank.response(verdict) == "It fits.<answer>10"


class Recorder:
    """An engine that gives log-probabilities and remembers what it was asked."""

    identity = "recorder"

    def __init__(self, answers, *, lose=False):
        self.answers, self.lose, self.asked = answers, lose, []

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        self.asked.append(([prompt.text for prompt in prompts], labels, think))
        if self.lose and len(self.asked) > 1:
            return
        thought = "I see.\n</think>" if think else None
        for index in range(len(prompts)):
            if index not in done:
                yield [(index, Reading(self.answers[len(labels)], thought, 5, 2, "verdict", 1))]


def test_the_second_place_is_read_where_the_first_leaves_a_choice():
    fmt = FORMATS["erank"]
    ten = tuple(math.log(share) for share in (0.01, 0.8, *[0.01] * 8))
    prompts = [fmt.render("q", passage, think=True) for passage in ("a", "b", "c")]
    recorder = Recorder({10: ten, 1: (math.log(0.75),)})
    engine = TwiceEngine(recorder, fmt, up_to_ten())
    found = list(engine.read_labels(prompts, fmt.labels, think=True, budget=9, done={1}))
    assert [index for batch in found for index, _ in batch] == [0, 2]
    reading = found[0][0][1]
    assert (reading.reasoning, reading.cut_tokens, reading.finish) == ("I see.", 1, "verdict")
    assert [math.exp(reading.logprobs[grade]) for grade in (1, 10)] == pytest.approx([0.2, 0.6])
    assert recorder.asked[1] == ([prompts[0].text + "\nI see.\n</think><answer>1"], ("0",), False)
    # No second reading for a first digit that is certain not to be 1.
    nine = (*[-50.0] * 9, -1e-9)
    recorder = Recorder({10: nine})
    ((_, reading),) = next(TwiceEngine(recorder, fmt, up_to_ten()).read_labels(prompts[:1], (), think=False, budget=1))
    assert len(recorder.asked) == 1 and Verdict.of(reading, fmt.grades).probability == pytest.approx(0.9)
    with pytest.raises(EngineError, match="no second reading for 1 of 1"):
        engine = TwiceEngine(Recorder({10: ten}, lose=True), fmt, up_to_ten())
        list(engine.read_labels(prompts, fmt.labels, think=True, budget=1))


def test_the_halves_of_tfranks_score_keep_their_mass():
    grades = tuple(math.log(share) for share in (0.1, 0.02, 0.02, 0.02, 0.04))
    combined = yes_no_grade().combine((math.log(0.3), math.log(0.1)), grades)
    assert math.fsum(map(math.exp, combined)) == pytest.approx(0.4)


def test_named_models_read_formats_that_exist():
    named = {model.prompt_format for model in MODELS.values()} - {"logit-score"}
    assert named == set(FORMATS)
    for model in MODELS.values():
        fmt = FORMATS.get(model.prompt_format)
        assert fmt is None or model.think == "never" or fmt.think is not None, model.name
