# Two commands on a fresh machine: `make quickstart` and `make test`. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

export DS_BUILD_OPS := 0
export MLFLOW_DISABLE_TELEMETRY := true
export TOKENIZERS_PARALLELISM := false

.PHONY: quickstart test faults cluster-test soak test-fast lint format pictures bench bench-quick gpu-check clean

quickstart: .venv/.installed
	$(BIN)/python jobs/sweep.py recipes/quickstart.yaml

# Tests of one process run side by side, JOBS at a time; a test that starts Ray has the machine to itself.
JOBS ?= 2
SIDE_BY_SIDE := -n $(JOBS) --dist worksteal

test: .venv/.installed lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not ray and not slow and not soak and not cluster" --durations=5
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "slow and not ray and not rare and not soak" --durations=10
	$(BIN)/python -m pytest -m "ray and not rare and not soak" --durations=10

# What is slow and about what seldom changes; most of it strikes real sweeps. The scorecard is shown, and kept in fault-results/.
faults: .venv/.installed
	FAULT_RESULTS=fault-results $(BIN)/python -m pytest -m "(rare or fault) and not soak" --durations=10

# Three hosts on this machine, made by `ray up` over SSH: a sweep across two nodes, a node lost and back, a job stopped. Wants root.
cluster-test: .venv/.installed
	$(BIN)/python -m pytest tests/cluster -m "cluster and not rare" --durations=10

# Sweep after sweep, struck at random every 30 to 90 seconds: SOAK_HOURS=4 SOAK_SEED=0 make soak
soak: .venv/.installed
	FAULT_RESULTS=fault-results $(BIN)/python -m pytest -m soak -s --timeout=0

test-fast: .venv/.installed
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not ray and not slow and not soak and not cluster" --durations=5

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m bandit -q -r -c pyproject.toml d2lora orchestrator jobs
	@$(BIN)/python .ci/audit.py

format: .venv/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pictures of the docs, of the quickstart as it is: the browser test looks at it and keeps what it sees. Wants Chromium.
pictures: quickstart
	D2LORA_SWEEP=sweeps/quickstart D2LORA_PICTURES=docs $(BIN)/python -m pytest tests/test_browser.py tests/test_browser_nights.py

# Against PEFT, lm-eval and others: tables and a picture in bench-results/. Wants a machine that does nothing else.
bench: .venv/.bench
	$(BIN)/python -m benchmarks

bench-quick: .venv/.bench
	$(BIN)/python -m benchmarks --quick

# One GPU, eight minutes: tables in bench-results/gpu/ (docs/gpu.md). Ends with 2 where there is no GPU.
gpu-check: .venv/.installed
	$(BIN)/python -m benchmarks.gpu_check

# DeepSpeed comes as source and reads torch while it builds, so torch is there first and its build sees this environment.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "installing into .venv (3-6 minutes, about 3 GB; once)"
	$(PYTHON) -m venv .venv
	$(PIP) torch numpy setuptools wheel ninja
	$(PIP) --no-build-isolation deepspeed
	$(PIP) --no-build-isolation -e '.[dev]'
	touch $@

.venv/.bench: .venv/.installed
	$(PIP) --no-build-isolation -e '.[bench]'
	touch $@

clean:
	rm -rf .venv .cache sweeps mlflow.db mlruns bench-results fault-results build *.egg-info
