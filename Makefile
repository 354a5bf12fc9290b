# What you need: Python 3.11 or newer with venv and pip, and make. Everything else goes into .venv.
#
#   make demo      a generated retailer, a HubSpot stand-in, one run over both; leaves the folder demo/
#   make test      the suite, without what takes minutes
#   make test-all  the suite
#   make check     format, lint, types, layers, and that the Ibis installed does what we ask of it
#   make lock      the hashed locks anew; LOCK=--upgrade takes newer versions
#   make clean     away with .venv, demo/ and caches

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
LOCK ?=
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --python-version 3.11 $(LOCK)

.PHONY: demo test test-all check lock clean

demo: $(VENV)/.product
	$(BIN)/python -m switchyard.demo $(DEMO)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" $(PYTEST_ARGS)

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/lint-imports --config .importlinter-runtime
	$(BIN)/python -m pytest -q --no-header tests/segments/test_meaning.py

# uv makes the locks and nothing else; it is in neither of them.
lock: $(BIN)/pip
	$(PIP) install uv
	$(COMPILE) pyproject.toml --group build -o requirements.lock
	$(COMPILE) pyproject.toml --group build --group test --extra postgres -c requirements.lock -o requirements-test.lock
	$(COMPILE) --group sdists -o requirements-build.lock

clean:
	rm -rf $(VENV) $(DEMO) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src connectors plugins tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# pip comes last into a new environment, so one that was interrupted is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Switchyard needs Python 3.11 or newer, \
	and $(PYTHON) is " + sys.version.split()[0] + "; name another with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.product: requirements.lock pyproject.toml | $(BIN)/pip
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

# The test lock holds all of the product's lock, at the same versions. One of its packages has to be built, by what the
# third lock pins: nothing is fetched that no lock names.
$(VENV)/.test: requirements-test.lock requirements-build.lock pyproject.toml | $(BIN)/pip
	$(PIP) install --require-hashes -r requirements-build.lock
	$(PIP) install --require-hashes --no-build-isolation -r requirements-test.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $(VENV)/.product $@
