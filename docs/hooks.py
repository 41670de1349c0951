"""MkDocs hooks: files outside docs/ that the guides link to become part of the site, at their place in the repository.

On GitHub a guide links to ``../train/README.md``. On the site the same page is ``train/README.md``, next to the guide,
so links that leave docs/ lose their ``../`` and links into docs/ lose their ``docs/``. All pages can then be checked.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)")
SKIPPED = re.compile(r' *(<span class="\w+">)?# doctest: \+SKIP(?(1)</span>)')
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add every file of the repository that a page links to, and what those pages link to in turn."""
    waiting = [file for file in files if file.is_documentation_page()]
    waiting += [_add(files, config, name) for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    while waiting:
        page = waiting.pop()
        for link in LINK.findall(CODE.sub("", page.content_string)):
            target = _site_path(page, link)
            if files.get_file_from_path(target) is None and (ROOT / target).is_file():
                added = _add(files, config, target)
                if added.is_documentation_page():
                    waiting.append(added)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links at their targets' places on the site."""
    here = PurePosixPath(page.file.src_uri).parent

    def rewritten(link: re.Match[str]) -> str:
        return relpath(_site_path(page.file, link[1]), here)

    parts, end = [], 0
    for code in CODE.finditer(markdown):  # examples are not touched
        parts += [LINK.sub(rewritten, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(rewritten, markdown[end:])])


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Leave out what the docstrings' examples tell doctest."""
    return SKIPPED.sub("", html)


def _add(files: Files, config: Any, name: str) -> File:
    file = File.generated(config, name, abs_src_path=str(ROOT / name))
    files.append(file)
    return file


def _site_path(file: File, link: str) -> str:
    """Where a link leads on the site, seen from the place of its page in the repository."""
    is_ours = str(file.abs_src_path or "").startswith(str(ROOT / "docs"))
    place = PurePosixPath("docs" if is_ours else ".") / file.src_uri
    return normpath(str(place.parent / link)).removeprefix("docs/")
