# The everyday verbs; CI runs the same ones (.ci/run). Nothing here needs more than Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
DEMO := .venv-demo
LIGHT := .venv-light
PIP := python -m pip install --quiet --disable-pip-version-check
# The distributions. Models need no installation in a checkout.
PROJECTS := pyproject.toml clients/python/pyproject.toml server/pyproject.toml export/pyproject.toml
# Stubs are written by the oldest grpcio-tools and protobuf that pyproject.toml admits, so that every newer one reads them.
PROTO_TOOLS := grpcio-tools==1.76.0 protobuf==6.31.1

.DEFAULT_GOAL := help
.PHONY: help install format lint test test-failed test-client test-server test-ecosystem test-stress test-upgrade proto bench demo check image-test clean

help: ## List the verbs.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

install: .venv/ready ## Everything for work on Muserve, into .venv (with torch).

.venv/ready: $(PROJECTS) constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/$(PIP) 'pip>=25.1'
	$(BIN)/$(PIP) -c constraints.txt -e 'clients/python[data,midi]' -e 'server[cpu,envoy]' -e 'export[classical]' --group dev
	@touch $@

format: install ## Rewrite the code in the house's format.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install ## Format, lint, types, walls, protos.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/released.binpb

PYTEST := python -m pytest -n auto --dist worksteal
test: install ## All tests but those below, in one process a core.
	$(BIN)/$(PYTEST) --ignore tests/upgrade --ignore tests/ecosystem

test-failed: install ## Those that failed the last time, one by one.
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --ignore tests/upgrade --ignore tests/ecosystem

test-client: $(LIGHT)/ready ## The tests of client and contract, in an environment without torch.
	$(LIGHT)/bin/$(PYTEST) tests/client tests/contract

test-server: $(LIGHT)/ready ## The tests of server and contract, in an environment without torch.
	$(LIGHT)/bin/$(PYTEST) tests/server tests/contract

$(LIGHT)/ready: $(PROJECTS) constraints.txt
	test -x $(LIGHT)/bin/python || $(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/$(PIP) 'pip>=25.1'
	$(LIGHT)/bin/$(PIP) -c constraints.txt -e 'clients/python[data,midi]' -e 'server[cpu,envoy]' --group test
	@touch $@

APT := $(if $(filter-out 0,$(shell id -u)),sudo )apt-get
test-ecosystem: install ## Against nginx, Node, Chromium, curl, buf curl and clients of the Open Inference Protocol, which it installs (Debian).
	command -v nginx >/dev/null || { $(APT) update -qq && $(APT) install -y -qq --no-install-recommends nginx-light; }
	command -v npm >/dev/null || { $(APT) update -qq && $(APT) install -y -qq --no-install-recommends nodejs npm; }
	command -v chromium >/dev/null || { $(APT) update -qq && $(APT) install -y -qq --no-install-recommends chromium; }
	command -v curl >/dev/null && command -v jq >/dev/null || { $(APT) update -qq && $(APT) install -y -qq --no-install-recommends curl jq; }
	$(BIN)/python -m pytest tests/ecosystem tests/repo/test_json_lines.py

test-stress: install ## The tests three times, beside processes that burn every core.
	$(BIN)/python tests/stress.py

test-upgrade: install ## The released SDK, server, bundles and command line with today's (needs the whole git history).
	$(BIN)/python -m pytest tests/upgrade

check: lint proto test ## What must pass before a change lands; stubs must be in step with proto/.
	git diff --exit-code -- proto/python/muserve

demo: $(DEMO)/ready ## Start a server on the bundled models and call every endpoint; results in out/.
	$(DEMO)/bin/python clients/examples/python/demo.py

$(DEMO)/ready: $(PROJECTS) constraints.txt
	test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/$(PIP) -c constraints.txt -e clients/python -e 'server[cpu,envoy]'
	@touch $@

clean: ## Remove environments, caches and build results; runs/ and out/ stay.
	rm -rf .venv .venv-clients .venv-demo .venv-light .venv-proto build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

proto: .venv-proto/ready ## Write the Python stubs anew from proto/.
	.venv-proto/bin/python -m grpc_tools.protoc -Iproto --python_out=proto/python --pyi_out=proto/python \
	    --grpc_python_out=proto/python proto/muserve/v1/*.proto
	.venv-proto/bin/python -m grpc_tools.protoc -Iproto --python_out=proto/python/muserve --pyi_out=proto/python/muserve \
	    proto/inference/*.proto
	# Inside the package: other clients of that protocol bring a module, and a protobuf package, of the name `inference`.
	sed -i.orig 's/^from inference import/from muserve.inference import/' proto/python/muserve/inference/*_pb2.py*
	rm proto/python/muserve/inference/*.orig
	find proto/python/muserve/v1 -name '*_pb2_grpc.py' -exec sh -c 'grep -q "^class" "$$1" || rm "$$1"' _ {} \;

.venv-proto/ready: Makefile
	test -x .venv-proto/bin/python || $(PYTHON) -m venv .venv-proto
	.venv-proto/bin/$(PIP) $(PROTO_TOOLS)
	@touch $@

image-test: install ## Build the container image and run it, without Docker (Debian, as root).
	$(BIN)/python -m pytest -s tests/image/built_image.py

bench: install ## Images, music, translations against raw onnxruntime, forecasts against statsforecast, answers in company against alone, the two fronts; reports in out/ (installs h2load on Debian).
	$(BIN)/python -m bench.images
	$(BIN)/python -m bench.forecasts
	$(BIN)/python -m bench.music
	$(BIN)/python -m bench.translation
	$(BIN)/python -m bench.answers
	$(BIN)/python -m bench.fronts
