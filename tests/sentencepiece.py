"""Small tokenizers of SentencePiece's kind, which put a space before a text, as those of Mistral and Llama 2 do."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

WORDS = ["true", "false", "yes", "Passage:", "Ranking:", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *"0123456789"]
KINDS = ("prepended", "always", "first")


def make(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer that knows words with and without a space before them.

    Args:
        kind: ``prepended``: the normalizer writes the space (Mistral 7B, Llama 2); ``always`` and ``first``: the
            pre-tokenizer does (conversions by transformers).
    """
    letters = [chr(number) for number in range(32, 127)]
    pieces = [*dict.fromkeys(["<unk>", "<s>", "</s>", "▁", "\n", *letters, *WORDS, *(f"▁{word}" for word in WORDS)])]
    scores = [(piece, -10.0 if len(piece) == 1 else -8.0) for piece in pieces]
    backend = Tokenizer(models.Unigram(scores, unk_id=0))
    if kind == "prepended":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind, split=False)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}<|assistant|>\n"
    )
    return tokenizer
