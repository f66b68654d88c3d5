# make demo | test | lint: each sets itself up on a fresh machine that has Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
COMMA := ,
SHELL := /bin/bash

.PHONY: demo test tried equality chaos parity wheel-test config-page docs bench lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    train a small hybrid encoder on the built-in corpus and evaluate it (about 2 minutes on 2 cores)"
	@echo "make test    run the test suite, two files at a time (WORKERS=1: one)"
	@echo "make chaos   kill, stop and damage tiny runs, and say what came of it (QUICK=1: half a minute, else 17)"
	@echo "make tried   replay the commands of docs/tried.md, and compare what they print"
	@echo "make parity  compare with torch, sentence-transformers and mteb, which it installs into .venv"
	@echo "make wheel-test  build the wheel of HEAD and use it in a clean environment of PYTHON (or of each of PYTHONS='a b')"
	@echo "make config-page  write docs/config.md from the config's classes"
	@echo "make equality  loss and gradients over devices, processes, meshes, chunks and dropout, as a table (5 minutes)"
	@echo "make bench   time all of docs/performance.md beside its peers (QUICK=1: the main parts, 4 minutes)"
	@echo "make docs    build the documentation site into site/, and check its links"
	@echo "make lint    ruff (check + format) and pyright"
	@echo "make format  rewrite the code in ruff's format"
	@echo "EXTRA=cuda12, cuda13 or tpu: what the first of these also installs; PYTHON=python3.13: which Python it uses"
	@echo "make clean   remove .venv, caches and runs/demo"

$(BIN)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hybrid_jax needs Python 3.11 or newer, and $(PYTHON) is older: try 'make PYTHON=python3.12 …'"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test$(if $(EXTRA),$(COMMA)$(EXTRA))]'
	@touch $@

demo: $(BIN)/.installed
	$(BIN)/python -m hybrid_jax.train --config configs/demo.yaml --workdir runs/demo
	$(BIN)/python -m hybrid_jax.eval --ckpt runs/demo --tasks demo --untrained

# A file's tests stay together, since they share what its fixtures have trained. A worker needs up to 4 GiB.
WORKERS ?= 2
test: $(BIN)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# Goes on where it was stopped; runs/chaos holds the results.
chaos: $(BIN)/.installed
	PYTHONPATH=tests $(BIN)/python -m chaos $(if $(QUICK),--quick --out runs/chaos-quick)

tried: $(BIN)/.installed
	$(BIN)/python tests/support/replay.py docs/tried.md

# torch first, and its CPU build: PyPI's brings gigabytes of CUDA packages, and pip prefers 2.13.0+cpu where it finds it.
$(BIN)/.parity: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu
	$(BIN)/python -m pip install --quiet --editable '.[test,parity]'
	@touch $@

parity: $(BIN)/.parity
	$(BIN)/python -m pytest tests/parity -s -W default

config-page: $(BIN)/.installed
	$(BIN)/python -m hybrid_jax.config_page docs/config.md

$(BIN)/.docs: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

docs: $(BIN)/.docs config-page
	$(BIN)/mkdocs build --strict

equality: $(BIN)/.installed
	PYTHONPATH=tests:. $(BIN)/python -m support.equality

PYTHONS ?= $(PYTHON)
wheel-test:
	$(PYTHON) tests/wheel_smoke.py $(PYTHONS)

bench: $(BIN)/.parity
	$(BIN)/python -m benchmarks.training --rounds $(if $(QUICK),1 --steps 3 --skip 1 --ours bfloat16,2 --steps 4)
ifndef QUICK
	$(BIN)/python -m benchmarks.training --size small --rounds 2 --steps 6 --ours bfloat16 --torch bfloat16
	$(BIN)/python -m benchmarks.training --size small --batch 128 --rounds 1 --steps 4 --skip 1 --ours bfloat16
	$(BIN)/python -m benchmarks.training --size xlmr-base --rounds 1 --steps 3 --skip 1 --ours bfloat16
endif
	$(BIN)/python -m benchmarks.cached --size small --steps 3 --peer bfloat16 $(if $(QUICK),--pairs 128 --plain-pairs 0)
	$(BIN)/python -m benchmarks.encoding --rounds 1 --passages $(if $(QUICK),100,300)
	$(BIN)/python -m benchmarks.search --rounds 1 $(if $(QUICK),--rows 50000 --queries 100)
	$(BIN)/python benchmarks/measures.py --only ir_measures --rounds 3
	$(BIN)/python -m benchmarks.store --rows $(if $(QUICK),160000,500000)
ifndef QUICK
	$(BIN)/python -m benchmarks.step --rounds 1 --steps 4 --dtype bfloat16 --dropout 0.1
	$(BIN)/python -m benchmarks.input --size minilm
endif
	$(BIN)/python -m benchmarks.growth $(if $(QUICK),--sizes 2 --repeats 1 --only batch corpus languages,--sizes 3 --repeats 3)
	$(BIN)/python -m benchmarks.gpu

lint: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(BIN)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .jax_cache .pytest_cache .ruff_cache runs/demo
