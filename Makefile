# Everything that is done with this repository. Each target makes the environment it needs first, in .tools and .venv;
# that takes Python 3.11 or later and a package index. Nothing is written outside folders that git ignores.

UV_VERSION := 0.13.9

UV := .tools/bin/uv
BIN := .venv/bin
TOOLS := .tools/uv-$(UV_VERSION).stamp
RUN := .venv/run.stamp
DEV := .venv/dev.stamp
CONTRACTS = $(shell find tests -name 'test_contracts_*.py')
# In several processes (tests/conftest.py says how many); one that has no tests left takes some of another's.
ALL_TESTS := $(BIN)/pytest -n auto --dist worksteal

# The environment is ours, whatever shell this is called from.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
# Every start of a program is quicker, also where Python may not write bytecode itself.
export UV_COMPILE_BYTECODE := 1

.PHONY: help demo serve test test-long check generate bench clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo       the whole loop on one screen: sign up, receive, be refused, be approved, send'
	@echo 'make serve      the server, with every listener'
	@echo 'make test       everything that CI runs: check, and all tests'
	@echo 'make check      format, lint, types, imports, generated files; under a minute'
	@echo 'make test-long  all tests, with the long forms of those that make test runs in short'
	@echo 'make generate   write generated files anew: read the diff, then commit it'
	@echo 'make bench      the benchmarks'
	@echo 'make clean      remove everything that was made here, the environment too'

demo: $(RUN)
	@$(BIN)/daimon-mcp demo

serve: $(RUN)
	@$(BIN)/daimon-mcp serve

test: check
	@scripts/ensure-mail-tools
	@CHROMIUM="$$(scripts/ensure-browser)" && export CHROMIUM && $(ALL_TESTS)

test-long: $(DEV)
	@scripts/ensure-mail-tools
	@CHROMIUM="$$(scripts/ensure-browser)" && export CHROMIUM && $(ALL_TESTS) -m 'long or not long'

check: $(DEV)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/lint-imports
	$(BIN)/basedpyright
	$(BIN)/pytest --quiet $(CONTRACTS)

generate: $(DEV)
	UPDATE_CONTRACTS=1 $(BIN)/pytest --quiet $(CONTRACTS)

bench: $(DEV)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .tools dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(TOOLS):
	@python="$$(scripts/find-python)" && \
	echo "Preparing .tools with $$python ..." && \
	"$$python" -m venv --clear .tools && \
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) && \
	touch $@

.venv/pyvenv.cfg: | $(TOOLS)
	@$(UV) venv --quiet --no-project --python "$$(scripts/find-python)" .venv

# What it takes to run, and what it takes to work on it. The first leaves what the second has installed.
$(RUN): pyproject.toml uv.lock | .venv/pyvenv.cfg $(TOOLS)
	@echo "Installing what uv.lock says into .venv ..."
	@$(UV) sync --frozen --quiet --no-dev --inexact
	@touch $@

$(DEV): pyproject.toml uv.lock | .venv/pyvenv.cfg $(TOOLS)
	@echo "Installing what uv.lock says, and the tools, into .venv ..."
	@$(UV) sync --frozen --quiet
	@touch $@ $(RUN)
