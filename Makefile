# `make` sets everything up and runs the main job; `make test` sets everything up and runs the tests.
# Every other target is listed by `make help`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
READY := $(VENV)/.ready
UV ?= uv
TORCH ?= $(if $(wildcard /dev/nvidia0),cuda,cpu)
# SHA-256 of a CPU-only build of torch 2.13.0 (Python 3.11, Linux, x86-64), which the public index does not list.
TORCH_CPU_SHA256 := 6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b

.DEFAULT_GOAL := run

run: $(READY)  ## set up, then train, evaluate and report the default configuration
	$(BIN)/snakemake --cores all
	@echo "The report is at $(CURDIR)/results/report.html"

setup: $(READY)  ## make .venv with every package of the lock files

$(READY): $(wildcard requirements/*.txt)
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v.major}.{v.minor}: run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	@# Without a GPU the CPU build of torch, where pip finds one (PIP_FIND_LINKS): a twentieth of the size. Else the public build.
	$(PIP) -r requirements/torch-$(TORCH).txt || $(PIP) -r requirements/torch-cuda.txt
	$(PIP) -r requirements/all.txt
	touch $@

test: $(READY)  ## the tests that any machine passes in ten minutes
	$(BIN)/python -m pytest -n auto --maxprocesses 4

test-learning: $(READY)  ## train until the agent has visibly learnt (5 minutes on 2 cores)
	$(BIN)/python -m pytest -m learning

soak: $(READY)  ## inject 200 faults into real runs (20 minutes), counts into docs/reliability.md
	$(BIN)/python -m tests.soak --faults 200 --write docs/reliability.md

test-containers: $(READY)  ## build images, and run in them as root and as an ordinary user (30 minutes on 2 cores)
	base=$$(.ci/container_tools.sh) && BASE_IMAGE=$$base $(BIN)/python -m pytest -m containers -n 0 -rA

images: $(READY)  ## build every image that changed, for Apptainer (IMAGES="..." for some)
	$(BIN)/python -m containers.build --sif $(IMAGES)

test-report: $(READY)  ## open the report in headless Chromium and compile its LaTeX tables (both must be installed)
	@command -v chromium >/dev/null && command -v pdflatex >/dev/null || \
	  { echo "error: this needs Chromium and LaTeX: sudo apt-get install chromium texlive-latex-recommended" >&2; exit 2; }
	$(BIN)/python -m pytest tests/analysis/test_browser.py tests/analysis/test_report.py

lint: $(READY)  ## formatting, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

lock: $(READY)  ## resolve pyproject.toml again into the lock files of the host and of the images (needs uv)
	$(UV) pip compile pyproject.toml --quiet --universal --generate-hashes --python-version 3.11 \
	  --extra workflow --extra analysis --extra containers --extra dev --extra atari100k --extra crafter \
	  --extra distractor --extra dmc_background --extra dmc_remastered --extra metaworld \
	  --custom-compile-command "make lock" --output-file requirements/all.txt
	echo "torch==2.13.0" | $(UV) pip compile - --quiet --generate-hashes --python-version 3.11 --python-platform windows \
	  --custom-compile-command "make lock" --output-file requirements/torch-cpu.txt
	sed -i '/^torch==/,/^[^ ]/{/--hash/d}; s|^torch==.*|torch==2.13.0 --hash=sha256:$(TORCH_CPU_SHA256)|' requirements/torch-cpu.txt
	echo "torch==2.13.0" | $(UV) pip compile - --quiet --universal --generate-hashes --python-version 3.11 \
	  --custom-compile-command "make lock" --output-file requirements/torch-cuda.txt
	$(BIN)/python -m containers.lock --uv $(UV)

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: run setup test soak test-learning test-containers images test-report lint lock help
