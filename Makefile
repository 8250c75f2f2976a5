# Moorage. `make` lists the targets. Each installs what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help browser bench bench-long bench-real conformance e2e-long setup setup-lab fmt check test test-packages test-all image e2e faults faults-real demo demo-down ci lock openapi clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# More workers than processors: many tests wait for processes and clocks.
PARALLEL := -n 4 --dist worksteal
FAST := -m "not root and not long and not browser" --ignore=tests/e2e
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Without bytecode each start of each process would compile all of its libraries: 2 s, 15 MiB.
export PYTHONDONTWRITEBYTECODE :=

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements/dev.lock pyproject.toml lab/pyproject.toml
	@echo "== setting up $(VENV) from requirements/dev.lock" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e . -e lab
	@touch $@

setup: $(STAMP) ## Install the Python side into .venv

setup-lab: setup ## Install the system packages of the lab (says which, needs root)
	@lab/install-packages lab

fmt: setup ## Format and mend what can be mended
	ruff format .
	ruff check --fix .
	gofmt -w lab/vcenter lab/govc lab/deploy lab/thin lab/image

check: setup ## Lint, types, layers, sizes, OpenAPI, doc links (no tests)
	ruff format --check .
	ruff check .
	mypy src lab/moorage_lab bench conformance
	lint-imports
	$(PYTHON) tests/check_tree.py
	$(PYTHON) docs/generate.py --check
	$(PYTHON) -m bench.page --check

test: setup ## All tests that need no root and no real nodes
	moorage-lab build vcenter >/dev/null
	moorage-lab build thin >/dev/null
	moorage-lab build govc >/dev/null
	moorage-lab build deploy >/dev/null
	tests/run $(PARALLEL) tests lab/tests $(FAST)

test-packages: setup
	@lab/install-packages tests

# The packages come first: a test that finds no shellcheck is skipped.
test-all: test-packages test ## `test`, long tests, those on PostgreSQL, and the lab's Go tests
	cd lab/vcenter && CGO_ENABLED=0 go vet ./... && CGO_ENABLED=0 go test ./...
	cd lab/govc && CGO_ENABLED=0 go vet ./...
	cd lab/deploy && CGO_ENABLED=0 go vet ./...
	cd lab/thin && CGO_ENABLED=0 go vet ./... && CGO_ENABLED=0 go test ./...
	cd lab/image/vip && CGO_ENABLED=0 go test ./...
	tests/run $(PARALLEL) tests -m "(long or postgres) and not root and not browser" --ignore=tests/e2e --postgres

browser: setup ## The web UI in Chromium, from the first administrator to a cluster (installs Debian's chromium)
	command -v chromium >/dev/null || (apt-get update -q && apt-get install -qy chromium)
	moorage-lab build vcenter >/dev/null
	moorage-lab build thin >/dev/null
	pytest tests/ui -m browser -s

e2e: image ## The lab's own real nodes, then one real cluster through its life (root)
	tests/run lab/tests -m root
	tests/run tests/e2e -m root

e2e-long: image ## That cluster's life at each release of vCenter, then clusters of other shapes (root)
	for release in 6.7.3 7.0.3 8.0.3; do \
	  MOORAGE_E2E_RELEASE=$$release pytest tests/e2e/test_life.py -m root; done
	pytest tests/e2e/test_ways.py -m ways

faults: setup ## Kill and break at enumerated and at seeded moments (RUNS=500 SEED=1 JOBS=4; no root)
	moorage-lab build vcenter >/dev/null
	moorage-lab build thin >/dev/null
	python -m tests.faults --runs $(or $(RUNS),500) --seed $(or $(SEED),1) --jobs $(or $(JOBS),4) --logs .faults

faults-real: image ## Break a whole system with real nodes in every way we know (root, long)
	pytest tests/e2e -m faults

demo: $(if $(filter thin,$(NODES)),setup,setup-lab) ## A real Kubernetes cluster on a simulated vCenter, left running (NODES=thin: boots nothing)
	demo/up

demo-down: ## Remove all that `make demo` made
	demo/down

# The node image comes before the tests: some run its kubeadm and its kube-apiserver.
image: setup-lab ## The node image of the lab, cached outside the work tree
	moorage-lab build image >/dev/null

bench: setup ## Measure speed, calls, processor time and memory; fails beyond a budget (ONLY="one many": parts)
	moorage-lab build vcenter >/dev/null
	moorage-lab build thin >/dev/null
	python -m bench $(ONLY:%=--only %)

bench-long: setup ## The same, then 200 and 1,000 clusters and 1,000 workers (hours)
	moorage-lab build vcenter >/dev/null
	moorage-lab build thin >/dev/null
	python -m bench --long

bench-real: image ## 3 + 3 real nodes against a hand-written kubeadm script, in pairs (root)
	MOORAGE_LAB_NAME=moorage-lab-bench MOORAGE_LAB_DIR=/var/lib/moorage-lab-bench \
	  python -m bench --only real

conformance: setup ## Check a real vCenter in one folder (VCENTER= FOLDER= TEMPLATE= CLUSTER= DATASTORE= NETWORK=)
	python -m conformance --vcenter "$(VCENTER)" --folder "$(FOLDER)" --template "$(TEMPLATE)" \
	  --compute-cluster "$(CLUSTER)" --datastore "$(DATASTORE)" --network "$(NETWORK)" \
	  $(if $(POWER_ON),--power-on) $(if $(JSON),--json "$(JSON)")

# A killed run may have left its stack on this machine, and there can only be one.
ci: check image test-all ## What CI runs
	demo/stack down /var/tmp/moorage-e2e
	$(MAKE) e2e

lock: ## Renew requirements/*.lock (hashes, no addresses)
	mkdir -p requirements
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header --python-version 3.11 pyproject.toml --group dev lab/pyproject.toml \
	  -o requirements/dev.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header --python-version 3.11 pyproject.toml -c requirements/dev.lock \
	  -o requirements/run.lock

openapi: setup ## Write openapi/v1.json from the code
	moorage-hub openapi > openapi/v1.json

clean: ## Remove what the build made in the work tree
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
