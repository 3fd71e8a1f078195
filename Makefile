# One place for every command. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
CORES ?= $(shell nproc 2>/dev/null || echo 2)
# Tests wait for processes as long as they compute.
WORKERS ?= $(shell echo $$(($(CORES) + 3)))
VENV := .venv
BIN := $(VENV)/bin
# not the script: its first line cannot hold every path
ZMART := $(BIN)/python -P -m zmart.cli
INSTALL := $(BIN)/python -I requirements/install.py
COLLECT := $(BIN)/pytest -qq --collect-only >/dev/null
LOCAL := $(VENV)/.local
DEV := $(VENV)/.dev
COMPILE := $(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --strip-extras

# The image. Every file and layer has one time, so that two builds of a commit are the same image. It is none of the
# commit's (a label says that): podman takes layers of earlier builds whatever their time, and a build without them
# would differ. 1980-01-01 is the earliest time that zip files know.
CONTAINERS ?= $(shell command -v podman >/dev/null 2>&1 && echo podman || echo docker)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= zmart:latest
TRIAL_IMAGE ?= zmart-trial:latest
BUILD_FLAGS ?=
IMAGE_TIME := 315532800
FINISH_podman = $(PYTHON) -I deploy/reproducible_image.py $(IMAGE)
BUILD_podman = --format docker --timestamp $(IMAGE_TIME)
BUILD_docker = --build-arg SOURCE_DATE_EPOCH=$(IMAGE_TIME)

# what configures other programs of this user
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONPLATLIBDIR PYTHONWARNINGS BASH_ENV
# pip ends with a traceback where there is none, as for a user without a name in a container
ifeq ($(HOME),)
export HOME := $(CURDIR)/$(VENV)/.home
endif
# with it every process compiles the whole source again
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
SEED ?=
.PHONY: help setup setup-dev up stop ps logs demo test coverage deploy-test faults soak simulate check bench wheel clients program image trial-image lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: setup ## start everything on this machine, play a market's life once, keep running (Ctrl-C stops all)
	@$(ZMART) up --demo

stop: ## stop the stack of this folder, however it was started
	@$(ZMART) stop

ps: ## show its processes: state, restarts, memory, ready or why not
	@$(ZMART) ps

logs: ## follow what its processes log (Ctrl-C ends the view, not the stack)
	@$(ZMART) logs --follow

test: setup-dev ## the whole test suite, some 12 minutes on 2 cores
	@# in a new checkout each worker would compile all tests for itself
	@[ -d tests/unit/__pycache__ ] || { $(COLLECT) tests/integration & $(COLLECT) tests/unit tests/program tests/acceptance; wait; }
	@# in the order of the folders: files with few long tests first, so that the last minutes are shared out well
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

coverage: setup-dev ## the whole test suite with its branches counted, in every process; fails below the floor in pyproject.toml
	@rm -rf .coverage && mkdir .coverage
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine -q
	$(BIN)/coverage report

setup: $(LOCAL) ## virtual environment, pinned packages with the extra `local`, the local chain's addon

setup-dev: $(DEV) ## the same, with what checks and tests need

demo: setup ## play a market's life against the running stack (starts one if none runs)
	@$(ZMART) demo

faults: setup-dev ## the long runs: faults, load, every page, the stack from an installed wheel
	SCREENSHOTS=1 $(BIN)/pytest tests/faults tests/simulation tests/acceptance/test_installation.py tests/acceptance/test_rollback.py tests/acceptance/test_two_releases.py tests/acceptance/test_kill_services.py tests/acceptance/test_explorer_long.py -m "slow or not slow"
	$(BIN)/pytest tests/integration -m slow

deploy-test: setup-dev ## what deploy/ holds, run with the programs that it is for; says which are missing
	$(BIN)/pytest tests/deploy -m "slow or not slow"

soak: setup-dev ## a day of schedules in an hour on the local stack, with a page of figures: artifacts/soak.html
	$(BIN)/python tests/soak/run_soak.py

simulate: setup-dev ## markets live under faults that a seed draws: make simulate SEED=7 (default: a new seed)
	$(BIN)/python tests/simulation/run_simulation.py $(SEED)

check: setup-dev ## format, lint, words, import rules, types
	$(BIN)/ruff format --check src tests bench programs clients deploy vendor
	$(BIN)/ruff check src tests bench programs clients deploy vendor
	$(BIN)/codespell src tests docs bench clients deploy README.md CONTRIBUTING.md CHANGELOG.md .env.example
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: setup-dev ## speeds, as ratios to a peer in the same run
	$(BIN)/zmart bench

wheel: setup-dev ## build the package for servers into dist/
	$(BIN)/python -m hatchling build -t wheel

clients: setup ## build the TypeScript client from the published descriptions and pack it into dist/
	@$(BIN)/python clients/typescript/build.py

program: setup-dev ## build the on-chain program; says whether the shipped bytes changed
	$(BIN)/python programs/zmart_core/build.py

image: ## build the container image of the services (deploy/README.md); CONTAINERS=docker where podman is not used
	$(CONTAINERS) build $(BUILD_$(CONTAINERS)) -f deploy/Containerfile -t $(IMAGE) --build-arg VERSION=$(VERSION) \
		--build-arg COMMIT="$$(git describe --always --dirty --abbrev=12 --exclude='*')" \
		--build-arg CREATED="$$(git log -1 --format=%cI 2>/dev/null)" $(BUILD_FLAGS) .
	$(FINISH_$(CONTAINERS))

trial-image: ## build the image with a local chain and the demo, for trials of a deployment
	$(CONTAINERS) build $(BUILD_$(CONTAINERS)) -f deploy/trial/Containerfile -t $(TRIAL_IMAGE) --build-arg ZMART_IMAGE=$(IMAGE) $(BUILD_FLAGS) .

lock: setup-dev ## pin the newest allowed packages again
	@# each file takes the versions of the one before it
	$(COMPILE) -o requirements/runtime.txt requirements/runtime.in
	$(COMPILE) -o requirements/local.txt requirements/local.in
	$(COMPILE) -o requirements/otel.txt requirements/otel.in
	$(COMPILE) -o requirements/dev.txt requirements/dev.in
	$(COMPILE) -o requirements/deploy.txt requirements/deploy.in
	$(COMPILE) -o requirements/image.txt requirements/image.in
	@# on its own: it lives in a folder of its own
	$(COMPILE) -o requirements/client-generator.txt requirements/client-generator.in

clean: ## stop the local stack, then remove its data, except backups, and the virtual environment
	@if $(BIN)/python -I -c 'import psutil, zmart.cli' 2>/dev/null; then $(ZMART) stop --all; fi
	rm -rf $(VENV) artifacts dist
	@if [ -d .zmart/backups ] && [ ! -L .zmart ]; then \
		find .zmart -mindepth 1 -maxdepth 1 ! -name backups -exec rm -rf {} + && echo "Backups stay in .zmart/backups."; \
	else rm -rf .zmart; fi

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "ZMART needs Python 3.11 or newer: install it (Debian: apt install python3 python3-venv) and run make again."; exit 1; }
	@$(PYTHON) -I -m venv $(VENV) || { rm -rf $(VENV); echo "This Python cannot make virtual environments: install the venv package (Debian: apt install python3-venv) and run make again."; exit 1; }
	@touch $@

$(LOCAL): requirements/local.txt pyproject.toml $(VENV)/.made
	@echo "Installing the pinned packages into $(VENV) ..."
	@$(INSTALL) --require-hashes -r requirements/local.txt
	@# without an index: whatever the package or its extra needs must be among the pinned packages
	@$(INSTALL) --no-index --no-build-isolation -e '.[local]'
	@$(ZMART) setup
	@touch $@

$(DEV): requirements/dev.txt $(LOCAL)
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
