# Every target prepares the virtual environment .venv that it needs, from hashed locks, and never calls apt.

PYTHON ?= python3
PY := .venv/bin/python
UV := uv==0.13.9
PYTEST_ARGS ?=
# Set: targets may run side by side (make -j), each with its tests in one process but for the longest, `workflow`.
SIDE_BY_SIDE ?=
# Tests of one file share what they set up, so a file stays in one process; MPI tests fill the cores by themselves.
PARALLEL := -n 2 --dist loadfile
DEMO := --directory demo/run --configfile demo/config.yaml

# A stamp carries its lock's checksum, so a changed lock is installed again however the file's date came about.
AMBER_ENV := .venv-amber/amber-$(firstword $(shell cksum < requirements/amber.txt)).stamp
RUN_ENV := .venv/run-$(firstword $(shell cksum < requirements/run.txt)).stamp
CPU_ENV := .venv/networks-cpu-$(firstword $(shell cksum < requirements/networks-cpu.txt)).stamp
GPU_ENV := .venv/networks-gpu-$(firstword $(shell cksum < requirements/networks-gpu.txt)).stamp
DEV_ENV := .venv/dev-$(firstword $(shell cksum < requirements/dev.txt)).stamp
INFRA_ENVS := $(foreach name,infra checkov pcluster,.venv-$(name)/$(firstword $(shell cksum < requirements/$(name).txt)).stamp)
PIP_INSTALL := $(PY) -m pip install --no-compile --quiet --no-input --disable-pip-version-check --require-hashes
# pip would compile packages' own tests too, and on one core; a file that cannot be compiled is somebody's template.
COMPILE := $(PY) -m compileall -qq -j 0 -x '/tests/' .venv/lib || true

# Snakemake and Numba keep caches in the home directory; some machines have none that may be written.
ifeq ($(shell test -w "$$HOME" && echo yes),)
export XDG_CACHE_HOME ?= $(CURDIR)/.venv/cache
endif

# These would let another Python's packages, or a personal Snakemake profile, into the run.
unexport PYTHONPATH PYTHONHOME SNAKEMAKE_PROFILE

.DEFAULT_GOAL := help
ifeq ($(SIDE_BY_SIDE),)
.NOTPARALLEL:
endif
.PHONY: help install networks networks-gpu demo test lint unit mpi workflow faults cluster amber infra system-deps lock bench clean slow

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

install: $(RUN_ENV) ## make .venv with what the workflow runs on

networks: $(CPU_ENV) ## add what the other embedders need: torch for the CPU, tokenizers, gensim

networks-gpu: $(GPU_ENV) ## add the same with torch for NVIDIA's GPUs, several GB

demo: $(RUN_ENV) ## run the demo community and print its figures and where the report is
	.venv/bin/snakemake --profile profiles/local $(DEMO)
	@PYTHONPATH=src $(PY) scripts/show_summary.py demo/run/results

test: lint unit mpi workflow faults ## run every check that needs no system package

lint: $(DEV_ENV) ## check the style and the types of the code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/snakefmt --check Snakefile rules
	.venv/bin/snakemake --lint $(DEMO)

unit: $(DEV_ENV) ## test the library's modules one by one
	$(PY) -m pytest $(if $(SIDE_BY_SIDE),,$(PARALLEL)) $(PYTEST_ARGS) tests/unit

mpi: $(DEV_ENV) ## test the clustering on several MPI ranks
	$(PY) -m pytest $(PYTEST_ARGS) tests/mpi

workflow: $(DEV_ENV) ## test the workflow from reads to report
	$(PY) -m pytest $(PARALLEL) $(PYTEST_ARGS) tests/workflow

faults: $(DEV_ENV) ## kill processes while reads are embedded, and compare every byte
	$(PY) -m pytest $(PYTEST_ARGS) tests/faults

cluster: $(DEV_ENV) ## run everything through a real Slurm, S3 and Ray on this machine, with faults (as root)
	$(PY) -m pytest $(PYTEST_ARGS) tests/cluster

slow: $(DEV_ENV) ## run what takes minutes each, at the end of an issue: tests marked slow, and 60 kills
	$(PY) -m pytest $(PYTEST_ARGS) -m slow tests/cluster tests/mpi tests/unit tests/workflow
	$(PY) -m pytest $(PYTEST_ARGS) tests/faults --kills 60 --seed 2

amber: $(DEV_ENV) $(AMBER_ENV) ## compare the evaluation with AMBER's, installed in .venv-amber
	$(PY) -m pytest $(PYTEST_ARGS) tests/amber

infra: $(INFRA_ENVS) ## check the cloud's templates, in .venv-infra, .venv-checkov and .venv-pcluster
	.venv-infra/bin/python -m pytest $(PYTEST_ARGS) tests/infra

system-deps: ## install the Debian packages that some tests want (as root)
	@command -v apt-get > /dev/null || { echo "system-deps: no apt-get here; install what requirements/debian.txt lists by other means" >&2; exit 1; }
	apt-get -o Acquire::Retries=3 update --quiet
	sed 's/#.*//' requirements/debian.txt | DEBIAN_FRONTEND=noninteractive xargs apt-get -o Acquire::Retries=3 install --yes --no-install-recommends

lock: ## pin requirements/*.in again, with hashes (UPGRADE=--upgrade takes newer versions)
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(PYTHON) -m venv "$$dir"; \
	"$$dir/bin/python" -m pip install --quiet --no-input --disable-pip-version-check $(UV); \
	for name in run networks dev amber infra checkov pcluster; do \
		lock=$$name; test $$name != networks || lock=networks-gpu; \
		"$$dir/bin/uv" pip compile --no-header --no-emit-index-url --no-emit-find-links --universal \
			--python-version 3.11 --generate-hashes $(UPGRADE) -o requirements/$$lock.txt requirements/$$name.in > /dev/null; \
	done; \
	awk 'NR == FNR { if (!/^#/) torch = torch $$0 "\n"; next } \
		/^[a-z]/ { skip = /^(cuda|nvidia|torch=|triton)/ } /^torch=/ { printf "%s", torch } !skip' \
		requirements/torch-cpu.txt requirements/networks-gpu.txt > requirements/networks-cpu.txt

bench: $(RUN_ENV) ## measure the speed of the embedding, and compare readclade with its peers (docs/peers.md)
	PYTHONPATH=src $(PY) benchmarks/embed_speed.py
	PYTHONPATH=src $(PY) benchmarks/compare_peers.py --time-limit 300

clean: ## remove what runs and tests have written; .venv and .venv-* stay
	rm -rf demo/run .snakemake .mypy_cache .pytest_cache .ruff_cache infra/build
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +

$(PY):
	@command -v $(PYTHON) > /dev/null || { echo "readclade: no '$(PYTHON)' found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "readclade: $$($(PYTHON) --version) is too old; it needs Python 3.11 or newer, name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "readclade: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv

$(RUN_ENV): | $(PY)
	awk '/^[a-z]/ { skip = /^mappy==/ } !skip' requirements/run.txt > .venv/run.txt
	awk '/^[a-z]/ { skip = !/^mappy==/ } !skip' requirements/run.txt > .venv/mappy.txt
	$(PIP_INSTALL) --no-deps -r .venv/run.txt
	@# It has no wheels, and only cleaning.remove wants it.
	$(PIP_INSTALL) --no-deps -r .venv/mappy.txt || echo "readclade: mappy, which cleaning.remove needs, was not built: install a" \
		"C compiler, python3-dev and zlib1g-dev, and call: .venv/bin/pip install -r .venv/mappy.txt" >&2
	@$(COMPILE)
	PYTHONPATH=src $(PY) scripts/compile_loops.py
	@rm -f .venv/run-*.stamp .venv/dev-*.stamp && touch $@

$(CPU_ENV): $(RUN_ENV)
	lock=cpu; $(PIP_INSTALL) --no-deps -r requirements/torch-cpu.txt 2> /dev/null || { \
		lock=gpu; echo "readclade: no index that pip knows here has torch for the CPU alone, so PyPI's is taken, several GB with" \
		"CUDA; to avoid that, set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds, which its installation page names" >&2; \
	}; \
	$(PIP_INSTALL) --no-deps -r requirements/networks-$$lock.txt
	@$(COMPILE)
	@rm -f .venv/networks-*.stamp && touch $@

$(GPU_ENV): $(RUN_ENV)
	@# To pip a build for the CPU would do.
	@$(PY) -m pip uninstall --quiet --quiet --yes torch
	$(PIP_INSTALL) --no-deps -r requirements/networks-gpu.txt
	@$(COMPILE)
	@rm -f .venv/networks-*.stamp && touch $@

# The tests take the networks as they are there, or else on the CPU.
$(DEV_ENV): $(if $(wildcard .venv/networks-gpu-*.stamp),$(GPU_ENV),$(CPU_ENV))
	$(PIP_INSTALL) -r requirements/dev.txt
	@rm -f .venv/dev-*.stamp && touch $@

$(AMBER_ENV): | $(PY)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || { echo "readclade: AMBER's pins have no wheels for $$($(PYTHON) --version); name a Python 3.11 or 3.12: make amber PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv-amber
	.venv-amber/bin/python -m pip install --no-compile --quiet --no-input --disable-pip-version-check --require-hashes -r requirements/amber.txt
	@touch $@

$(INFRA_ENVS): | $(PY)
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --no-compile --quiet --no-input --disable-pip-version-check --require-hashes -r requirements/$(patsubst .venv-%,%,$(@D)).txt
	@touch $@
