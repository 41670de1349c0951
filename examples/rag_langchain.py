"""Retrieval-augmented generation with LangChain: retrieve, rerank with LimRank, and answer from the best passages.

    pip install limrank-ir langchain-core scikit-learn openai
    python examples/rag_langchain.py "How much room is left on my disk?"

Without a chat model the script prints the prompt that it would send. To answer, name any OpenAI-compatible server:

    python examples/rag_langchain.py QUESTION --chat-url http://localhost:8000/v1 --chat-model NAME

The reranker runs in this process, or on a server (`limrank serve`), which many programs can share:

    python examples/rag_langchain.py QUESTION --rerank-url http://localhost:8787

Your own texts: --documents FOLDER reads its .txt and .md files, one passage per paragraph.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from sklearn.feature_extraction.text import TfidfVectorizer

from limrank_ir import LimRank

SAMPLE = {
    "os.fsync": "Forces the write of a file descriptor to disk: nothing stays in a cache of the operating system.",
    "file.flush": "Moves buffered data from Python to the operating system, which may still keep it in memory.",
    "os.remove": "Removes a file from the disk. A directory raises an error; use rmdir for those.",
    "shutil.copy": "Copies a file to another file or directory, with its permission bits.",
    "shutil.disk_usage": "Returns the total, used, and free space of the disk that holds a path.",
    "tempfile.TemporaryFile": "Opens a file that is deleted as soon as it is closed.",
    "gzip.open": "Opens a gzip-compressed file in binary or text mode.",
    "time.sleep": "Suspends the calling thread for a number of seconds.",
}
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer from the passages only, and name those you used, as in [2]. If they don't help, say so."),
        ("human", "{context}\n\nQuestion: {question}"),
    ]
)


class WordRetriever(BaseRetriever):
    """A first stage for small collections: TF-IDF. In its place, take any retriever that you have."""

    documents: list[Document]
    k: int = 20

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english")
        matrix = vectorizer.fit_transform(document.page_content for document in self.documents)
        scores = (matrix @ vectorizer.transform([query]).T).toarray().ravel()
        return [self.documents[place] for place in (-scores).argsort(kind="stable")[: self.k]]


class LimRankCompressor(BaseDocumentCompressor):
    """Keeps the documents that LimRank finds most relevant; works wherever LangChain takes a document compressor."""

    limrank: Any
    top_n: int = 3

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Any = None
    ) -> Sequence[Document]:
        """Rerank documents for a query."""
        ranked = self.limrank.rank(query, [document.page_content for document in documents], top_k=self.top_n)
        return [_scored(documents[hit.index], hit.score) for hit in ranked]


class HttpCompressor(BaseDocumentCompressor):
    """The same with `limrank serve`, or with anything else that speaks Cohere's rerank API."""

    url: str
    top_n: int = 3

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Any = None
    ) -> Sequence[Document]:
        """Rerank documents for a query."""
        body = {"query": query, "documents": [document.page_content for document in documents], "top_n": self.top_n}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('LIMRANK_TOKEN', '')}"}
        request = urllib.request.Request(f"{self.url.rstrip('/')}/v2/rerank", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=600) as response:
            results = json.load(response)["results"]
        return [_scored(documents[hit["index"]], hit["relevance_score"]) for hit in results]


def _scored(document: Document, score: float) -> Document:
    return Document(page_content=document.page_content, metadata={**document.metadata, "score": score})


def read_documents(folder: Path | None) -> list[Document]:
    """One document per paragraph of the texts in a folder, or the sample."""
    if folder is None:
        return [Document(page_content=f"{name}: {text}", metadata={"source": name}) for name, text in SAMPLE.items()]
    return [
        Document(page_content=paragraph.strip(), metadata={"source": f"{path.name}#{number}"})
        for path in sorted([*folder.rglob("*.txt"), *folder.rglob("*.md")])
        for number, paragraph in enumerate(path.read_text(encoding="utf-8").split("\n\n"), 1)
        if paragraph.strip()
    ]


def main() -> None:
    """Retrieve, rerank, and answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question")
    parser.add_argument("--documents", type=Path, help="folder of .txt and .md files (default: a small sample)")
    parser.add_argument("--candidates", type=int, default=20, help="how many passages to rerank")
    parser.add_argument("--top", type=int, default=3, help="how many passages to answer from")
    parser.add_argument("--model", default="limrank-smol", help="the reranker in this process")
    parser.add_argument("--rerank-url", help="address of limrank serve, instead of a reranker in this process")
    parser.add_argument("--chat-url", help="address of an OpenAI-compatible server")
    parser.add_argument("--chat-model", default="default", help="its model")
    given = parser.parse_args()

    documents = read_documents(given.documents)
    if not documents:
        parser.error(f"{given.documents}: no .txt or .md file with text")
    retriever = WordRetriever(documents=documents, k=given.candidates)
    if given.rerank_url:
        compressor: BaseDocumentCompressor = HttpCompressor(url=given.rerank_url, top_n=given.top)
    else:
        compressor = LimRankCompressor(limrank=LimRank(given.model), top_n=given.top)

    found = compressor.compress_documents(retriever.invoke(given.question), given.question)
    context = "\n\n".join(
        f"[{number}] ({document.metadata['source']}) {document.page_content}"
        for number, document in enumerate(found, 1)
    )
    messages = PROMPT.invoke({"context": context, "question": given.question}).to_messages()
    if given.chat_url is None:
        print("\n\n".join(f"{message.type}: {message.content}" for message in messages))
        return

    from openai import OpenAI

    client = OpenAI(base_url=given.chat_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))
    roles = {"system": "system", "human": "user"}
    answer = client.chat.completions.create(
        model=given.chat_model,
        messages=[{"role": roles[message.type], "content": message.content} for message in messages],
    )
    print(answer.choices[0].message.content)
    print("\n" + "\n".join(f"[{number}] {document.metadata['source']}" for number, document in enumerate(found, 1)))


if __name__ == "__main__":
    main()
