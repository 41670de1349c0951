"""RankLLM's sliding windows with our chat client behind them. Import it only where RankLLM is to run.

RankLLM's own listwise models need vLLM or a tokenizer from the internet, and ask a server that does not answer again
forever or take its error message for an answer. Its base class has all that makes the method, and leaves the asking to
those who derive from it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.llm.chat import Chat, Server
from limrank_ir.llm.journal import Journal, request_key

from .rank_llm import rank_llm

data = rank_llm("rank_llm.data")
listwise = rank_llm("rank_llm.rerank.listwise.listwise_rankllm")
Base: Any = listwise.ListwiseRankLLM
analysis = rank_llm("rank_llm.analysis.response_analysis")

TEMPLATE = Path(listwise.__file__).parents[1] / "prompt_templates" / "rank_zephyr_template.yaml"
WINDOW, STRIDE = 20, 10  # passages; RankLLM's defaults
PASSAGE_WORDS = 300  # of a passage, at most; RankLLM's default
AROUND = 250  # tokens of the prompt besides the passages, with a query of usual length
ANSWER = 8  # tokens for each passage of an answer: "[12] > "
WORDS_PER_TOKEN = 0.6  # few enough for texts with code and numbers


class Windows(Base):
    """A listwise reranker behind a server.

    Attributes:
        model: the server's name for its model.
        most: passages in a window, at most.
        answers: answers so far.
        read: docids in windows that the server was asked about in this call.
        faults: malformed answers by RankLLM's kinds: wrong format, repetition, missing documents.
        repaired: docids in windows with such an answer.
        tokens: of prompts and answers, as the server counts them.
    """

    def __init__(self, model: str, server: Server, answers: Path, *, context: int, thought: int) -> None:
        super().__init__(
            model=model,
            context_size=context,
            prompt_template_path=TEMPLATE,
            window_size=WINDOW,
            stride=STRIDE,
            device="cpu",
        )
        self.model = model
        self.server = server
        self.most = WINDOW
        self.answers = self.tokens = 0
        self.faults: Counter[str] = Counter()
        self.read: set[str] = set()
        self.repaired: set[str] = set()
        self._thought = thought
        self._journal = Journal(answers)
        self._chat: Chat | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    async def __aenter__(self) -> Windows:
        self._chat, self._loop = Chat(self.server), asyncio.get_running_loop()
        return self

    async def __aexit__(self, *unused: object) -> None:
        assert self._chat is not None
        await self._chat.close()
        self._journal.close()

    def words(self, passages: int) -> int:
        """How many words of each passage fit into a prompt with so many passages."""
        room = (self._context_size - AROUND - ANSWER * passages) * WORDS_PER_TOKEN
        return max(1, min(PASSAGE_WORDS, int(room / passages)))

    def create_prompt(self, result: Any, rank_start: int, rank_end: int) -> tuple[Any, int]:
        """The messages for a window, and about how many tokens they have."""
        messages = self._inference_handler.generate_prompt(
            result=result,
            rank_start=rank_start,
            rank_end=rank_end,
            max_length=self.words(len(result.candidates[rank_start:rank_end])),
        )
        return messages, self.get_num_tokens(messages)

    def run_llm(self, prompt: Any, current_window_size: int | None = None) -> tuple[str, str, dict[str, Any]]:
        """Ask the server, or find the answer of an earlier call. Called in threads, while the loop runs."""
        passages = current_window_size or WINDOW
        body = {
            "model": self._model,
            "messages": prompt,
            "temperature": 0.0,
            "max_tokens": ANSWER * passages + ANSWER + self._thought,
        }
        answer = self._journal.get(request_key(body))
        stored = answer is not None
        if answer is None:
            assert self._chat is not None and self._loop is not None
            answer = asyncio.run_coroutine_threadsafe(self._chat.complete(body), self._loop).result()
            if "refused" in answer:
                raise InputError(f"{self._model}: the server's content filter refused a window ({answer['refused']})")
            self._journal.put(body, answer)
        content = answer["choices"][0]["message"].get("content") or ""
        return content, "", {**(answer.get("usage") or {}), "stored": stored}

    def permutation_pipeline(self, result: Any, rank_start: int, rank_end: int, *args: Any, **options: Any) -> Any:
        """Rank one window, and check the answer with RankLLM's own analysis."""
        docids = [candidate.docid for candidate in result.candidates[rank_start:rank_end]]
        result = super().permutation_pipeline(result, rank_start, rank_end, *args, **options)
        last = result.invocations_history[-1]
        counts = analysis.ResponseAnalyzer([data.Result(result.query, [], [last])]).count_errors()
        with self._lock:
            self.answers += 1
            self.tokens += sum(last.token_usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens"))
            if not last.token_usage["stored"]:
                self.read.update(docids)
            if not counts.pop("ok"):
                self.faults.update(counts)
                self.repaired.update(docids)
        return result

    def rank(self, request: Any) -> list[str]:
        """The docids of a request's candidates, best first. One candidate needs no question."""
        count = len(request.candidates)
        if count < 2:
            return [candidate.docid for candidate in request.candidates]
        result = self.sliding_windows(request, 0, count, count)
        return [candidate.docid for candidate in result.candidates]

    def get_num_tokens(self, prompt: Any) -> int:
        """About how many tokens messages have."""
        return int(sum(len(message["content"].split()) for message in prompt) / WORDS_PER_TOKEN)

    def num_output_tokens(self, current_window_size: int | None = None) -> int:
        """How many tokens an answer may have."""
        return ANSWER * (current_window_size or WINDOW)

    def cost_per_1k_token(self, input_token: bool) -> float:
        """Unknown."""
        return 0.0

    def rerank_batch(self, requests: Any, *args: Any, **options: Any) -> Any:
        """Not used: it would draw a progress bar of its own."""
        raise NotImplementedError

    def run_llm_batched(self, prompts: Any, **options: Any) -> Any:
        """Not used: `run_llm` runs in threads."""
        raise NotImplementedError

    def create_prompt_batched(self, results: Any, rank_start: int, rank_end: int) -> Any:
        """Not used, for the same reason."""
        raise NotImplementedError
