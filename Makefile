# Everything for a fresh Linux machine with Python 3.11 to 3.13 and make.
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
# the tests start hundreds of Pythons, which then need not compile edgekit and the tests again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-slow test-lab lint format bench bench-compare cases schema clean help

help:  ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(STAMP)  ## make .venv with edgekit[all] and the development tools

$(STAMP): pyproject.toml constraints.txt tools/setup.sh
	@PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV)
	@touch $@

demo: setup  ## train, build, deploy to this machine, measure
	@$(BIN)/edgekit demo

test: setup  ## unit and convert tests (no root)
	@$(BIN)/python -m pytest -q -m "(unit or convert) and not slow" -n 2 --dist loadgroup

test-slow: setup  ## the tests that take more than ten seconds each
	@$(BIN)/python -m pytest -q -m "slow and not lab" -n 2 --dist loadgroup

test-lab: setup  ## real sshd, faults, an arm64 userland, an arm64 machine with sensors (root)
	@$(BIN)/python -m pytest tests/lab -q -m lab -n 2 --dist loadgroup --no-loadscope-reorder

lint: setup  ## ruff, mypy strict, layers, Python of the agent
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/vermin --quiet --no-tips --target=3.7- --violations edgekit/agent edgekit/bundle/unpack.py edgekit/bundle/rollout/files

format: setup  ## format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup  ## every benchmark, ratios in one interleaved run
	@$(BIN)/python -m benchmarks.run

bench-compare: setup  ## 400 comparisons of equal models, 100 with a planted 3 %; 90 minutes, goes on where it stopped
	@$(BIN)/python -m benchmarks.compare_truth

cases: setup  ## fetch the public models and data that the tests use into ./cases
	@$(BIN)/python -m tools.fetch_cases

schema: setup  ## write docs/schema/*.json
	@$(BIN)/python tools/write_schema.py

clean:  ## remove what was built
	@rm -rf $(VENV) build dist
