# make demo: the main job on the embedded glyphs. make test: the tests. Both set up .venv first.
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN := .venv/bin
SNAKEMAKE := $(BIN)/python -m snakemake
# Snakemake, shown as jobs by rule, a line of progress, errors, and where the logs are.
SUMMARY := $(BIN)/python -m scripts.summary
# With an NVIDIA driver one job at a time takes the GPU; without, the cores are all that jobs share.
RUN := $(SUMMARY) --cores $(CORES) --rerun-incomplete $(if $(shell command -v nvidia-smi),--resources gpu=1)
TORCH := $(shell sed -n 's/^\(torch==[^ ;]*\).*/\1/p' requirements.lock)

# Where pip gets torch, if no local wheel is at hand. PyPI's build for Linux brings CUDA, gigabytes of it, so machines
# without an NVIDIA driver take the CPU build. Set TORCH_INDEX to choose another, e.g.
# make venv TORCH_INDEX=https://download.pytorch.org/whl/cu130; docs/gpu.md says which fits a driver.
ifeq ($(shell uname -s)$(shell command -v nvidia-smi),Linux)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
else
TORCH_INDEX ?= https://pypi.org/simple
endif

OTHER_TORCH := for an NVIDIA GPU: rm -r .venv; make venv TORCH_INDEX=https://download.pytorch.org/whl/cu130 (docs/gpu.md)

.PHONY: demo digits glyphs glyphs-study glyphs-train glyphs-search schema test test-all test-long study study-quick test-slurm test-faults fuzz test-gpu bench bench-gpu glyphs-data docs venv lint format lock rerun-table
.DEFAULT_GOAL := demo

# A run (1) with options (2), its report, and its first table.
define evaluate
$(RUN) $(2)
$(SUMMARY) --report results/$(1)/report.html $(2)
@echo && cat results/$(1)/tables/accuracy.md
@echo && echo "Tables: results/$(1)/tables, report: results/$(1)/report.html"
endef

demo: venv
	$(call evaluate,glyphs_demo)

# The same benchmark with all that the weights of the box give; and all of it, on more images and beside the rivals, which
# are trained first: hours, after make glyphs-train, since it compares three seeds.
glyphs: venv
	$(call evaluate,glyphs,--configfile config/glyphs.yaml)

glyphs-study: venv
	$(RUN) --configfile config/glyphs_study.yaml
	@echo && cat results/glyphs_study/tables/main.md

# A small VAR from scratch, on scikit-learn's handwritten digits, and its fine-tuning: minutes.
digits: venv
	$(call evaluate,digits,--configfile config/digits.yaml)

# Every family of classifiers on the same images: Fashion-MNIST, and the digits task by task (two hours); the digits
# alone (minutes).
study: venv
	$(RUN) --configfile config/study.yaml
	$(RUN) --configfile config/incremental.yaml
	@echo && cat results/study/tables/main.md

study-quick: venv
	$(RUN) --configfile config/study_quick.yaml
	@echo && cat results/study_quick/tables/main.md

test: venv
	$(BIN)/python -m pytest -n 2 -m "not slow and not long"

# Those too that are slow, as .ci/run does; and the whole runs, which together take longer than all others.
test-all: venv
	$(BIN)/python -m pytest -n 2 -m "not long"

test-long: venv
	$(BIN)/python -m pytest -n 2 -m long

# The digits study on a real Slurm of this machine alone, which comes and goes with the test; root on Debian only.
# SHORT=1 takes a smaller config, and leaves out jobs over their time or memory, which take minutes to be noticed.
test-slurm: venv
	SHORT=$(SHORT) tests/slurm/with.sh $(BIN)/python -m pytest tests/slurm/study.py \
	    $(if $(filter 1,$(SHORT)),,tests/slurm/limits.py)

# Kills, damaged and exchanged files, a full disk: docs/faults.md. A quarter of an hour; not part of `make test`.
test-faults: venv
	$(BIN)/python tests/faults/faults.py
	$(BIN)/python tests/faults/exchanges.py

# Five hundred damaged inputs of every reader, minutes; SEED=1 takes others. A few are part of `make test`.
fuzz: venv
	FUZZ=500 $(BIN)/python -m pytest -q -s tests/fuzz

# Whether a card computes rightly, ten minutes; how fast it is, ten minutes: docs/gpu.md. Neither is part of `make test`.
test-gpu: venv
	$(BIN)/python tests/gpu/check.py

bench-gpu: venv
	$(BIN)/python benchmarks/gpu.py

bench: venv
	$(BIN)/python benchmarks/engine.py

# weights/glyphs again, hours on 2 cores: trained below results/, looked at, and copied.
glyphs-train: venv
	$(RUN) --configfile config/glyphs_train.yaml
	$(SUMMARY) verify --cores 1 --configfile config/glyphs_train.yaml
	for file in base/vqvae=vqvae base/var=var seed_1/var=var_seed_1 seed_2/var=var_seed_2 cca/var=cca \
	    discriminative/var=discriminative cross_entropy/var=cross_entropy; do for kind in safetensors json; do \
	    cp results/glyphs_train/models/$${file%=*}.$$kind weights/glyphs/$${file#*=}.$$kind || exit 1; done; done

# The settings of glyphs-train, by validation: an hour or two on 2 cores.
glyphs-search: venv
	$(RUN) --configfile config/glyphs_tokens.yaml
	$(RUN) --configfile config/glyphs_search.yaml
	@echo && cat results/glyphs_tokens/tables/contrast.md results/glyphs_search/tables/accuracy.md

# data/glyphs again, from the Debian packages that it names; Debian alone, 780 MB to fetch.
glyphs-data: venv
	mkdir -p build/fonts
	cd build/fonts && apt-get download $$(tr ' ' '=' < ../../data/glyphs/packages.txt)
	cd build/fonts && for file in *.deb; do dpkg-deb -x $$file $${file%%_*}; done
	$(BIN)/python -m varc.data.glyphs build/fonts data/glyphs
	$(BIN)/python -m varc.data.glyphs.pairs data/glyphs/test/glyphs.parquet data/glyphs/pairs.csv
	$(BIN)/python -m varc.data.glyphs.pairs data/glyphs/validation/glyphs.parquet data/glyphs/pairs_validation.csv

venv: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	    "Python 3.11 or later is needed, found %s; set PYTHON=..." % sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-index --no-deps "$(TORCH)" 2>/dev/null \
	    || $(BIN)/python -m pip install --quiet --extra-index-url "$(TORCH_INDEX)" "$(TORCH)"
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@$(BIN)/python -c 'import torch; cuda = torch.version.cuda; print("torch", torch.__version__, \
	    f"for CUDA {cuda}" if cuda else "for the CPU alone; $(OTHER_TORCH)")'
	touch $@

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check workflow
	$(BIN)/mypy
	$(SNAKEMAKE) --lint

# All pages as a site, which needs no network to be read: build/docs/index.html. A link that leads nowhere is an error.
docs: venv
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -c docs -d build/doctrees . build/docs
	@echo "build/docs/index.html"

format: venv
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt workflow

# The keys of a config in config/README.md, and their JSON schema for editors, from the types in workflow/config.
schema: venv
	$(BIN)/python -m workflow.config.document

# The table "What makes a job rerun" in config/README.md, by dry runs.
rerun-table: venv
	$(BIN)/python tests/rerun_table.py

# The torch in the lock has no local suffix (+cpu), so that any build of that version fits.
lock: venv
	$(BIN)/python -m piptools compile --quiet --extra dev --extra docs --extra workflow --extra explanations --extra baselines --extra glyphs --strip-extras --allow-unsafe --no-emit-find-links \
	    --no-emit-index-url --upgrade-package torch==2.13.0 --output-file requirements.lock pyproject.toml
	sed -i.bak 's/^\(torch==[0-9.]*\)+[a-z0-9.]*/\1/' requirements.lock && rm requirements.lock.bak
