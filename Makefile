# Needs Python 3.11 to 3.13 and make. Everything else is installed into .venv, pinned by constraints/cpu.txt.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p))))
VENV ?= .venv
DEMO ?= .demo
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/cpu.txt
BENCHMARKS := schedules floor images memory pipeline aggregate comparing coverage start_up

.DELETE_ON_ERROR:
.PHONY: help demo train-demo train-control test test-all test-faults lint format bench clean

help:
	@echo "make demo           synthesise data, run the bundled model in four modes, print the leaderboard"
	@echo "make train-demo     train the bundled model's weak revision with PRA-GRPO, and say what it gained"
	@echo "make train-control  the same with rewards that say nothing: it must gain nothing"
	@echo "make test           the tests"
	@echo "make test-all       the tests, the slow ones, and the integration sessions"
	@echo "make test-faults    what breaks servers, data, images and runs on purpose"
	@echo "make lint           ruff, mypy and vulture"
	@echo "make format         let ruff rewrite the code"
	@echo "make bench          the benchmarks"
	@echo "make clean          remove what the other targets made"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints/cpu.txt | $(BIN)/python
	$(PIP) --editable '.[transformers]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --editable '.[transformers,dev]'
	@touch $@

$(VENV)/.train: $(VENV)/.run trainers/pra_grpo/pyproject.toml
	$(PIP) --editable '.[transformers]' --editable trainers/pra_grpo
	@touch $@

$(DEMO)/data/.synthesised: $(wildcard p2r_bench/synth/*.py) | $(VENV)/.run
	rm -rf $(DEMO)/data
	$(BIN)/p2r-bench data synth --format hrbench --resolution 4k --rows 100 --seed 1 --out $(DEMO)/data
	@touch $@

demo: $(VENV)/.run $(DEMO)/data/.synthesised
	$(BIN)/p2r-bench run --mode default,thinking,p2r,oracle --tasks HR-Bench --data-dir $(DEMO)/data --out $(DEMO)/results
	$(BIN)/p2r-bench leaderboard --source measured --out $(DEMO)/results
	@echo
	@echo "The table is $(DEMO)/results/leaderboard.parquet: pandas.read_parquet reads it."
	@echo "The runs are in $(DEMO)/results/runs; run \`make demo\` again and no sample runs twice."

train-demo: $(VENV)/.train
train-control: $(VENV)/.train
train-demo train-control: train-%:
	$(BIN)/p2r-bench train pra-grpo --config trainers/pra_grpo/$*.toml
	$(BIN)/python -m p2r_bench_pra_grpo.gain .demo/train-$*
	@echo
	@echo "Metrics, rollouts, the plot and the model are in .demo/train-$*; run it again and nothing is done twice."

test: $(VENV)/.dev
	$(BIN)/python -m pytest

FAULTS := tests/faults tests/test_terminal.py tests/tasks/test_paths.py tests/tasks/test_damaged_rows.py \
	tests/run/test_runner.py tests/run/test_interruptions.py tests/run/test_signals.py tests/store/test_journal.py

test-faults: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not integration and not vllm and not ray" $(FAULTS)
	$(BIN)/python -m benchmarks.long_run
	$(BIN)/python -m benchmarks.contention

test-all: test
	$(BIN)/nox

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.dead_code

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	for benchmark in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$benchmark || exit 1; done

clean:
	rm -rf $(VENV) $(DEMO) .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
