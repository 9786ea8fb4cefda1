# make demo, make test: all a newcomer needs. Each makes what it uses: a virtual environment, and Azurite.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait for sockets, or for time-outs, much of their time.
WORKERS ?= 8

.PHONY: bench help demo scenario test deploy-check deploy-systems long lint types azurite runtime lock licences sbom vulnerabilities torture crashes simulate faults fuzz breaks wheel pictures outputs schemas package clean

help:
	@echo "make demo          forward an example estate into two hubs, on this machine alone"
	@echo "make demo COUNTS=F the same with people counts from a CSV file (time,in,out)"
	@echo "make scenario      make two days of outages, late, lost and repeated readings, to try commands on"
	@echo "make test          lint, types and tests; some in their short form"
	@echo "make deploy-check  what is deployed, installed as the guides say, up to a first delivery on this machine alone"
	@echo "make deploy-systems  installs on Debian 12, Ubuntu 24.04 and 22.04, as root, with debootstrap; ten minutes"
	@echo "make long          the tests that make test leaves out, for their size: all faults, an audit of 100,000"
	@echo "make lock          write requirements*.lock for requirements*.txt; UPGRADE=1 with the newest versions that these allow"
	@echo "make licences      list the licences of what is deployed in docs/licences.md"
	@echo "make sbom          list what is in each package of make package, in dist/*.cdx.json, in the form of CycloneDX"
	@echo "make vulnerabilities  ask PyPI's advisories of what is deployed; 1 where it has any, 2 where it cannot be asked"
	@echo "make torture       kill real runs at random moments, N=1000 of each store, and count what is lost"
	@echo "make crashes       kill a run at each of its boundaries in turn; fail each call of its store in turn"
	@echo "make simulate      N=100000 simulated runs from SEED=1 on: faults, crashes, late data; no sockets"
	@echo "make faults        make everything go wrong that is thought of, once each"
	@echo "make fuzz          give all that reads the outside odd inputs, SECONDS=60 of the processor each; TARGET='one two'"
	@echo "make breaks        break the code on purpose, a copy of it, in each way that is listed: a test must notice"
	@echo "make bench         measure all that has a bound against its baseline, ONLY=heading; LONG=1 a million readings"
	@echo "make wheel         build the command line as a package for pip, pipx and uv, in dist/"
	@echo "make package       build packages for Azure Functions with all that they need, in dist/; PYTHON_OF=3.12 one, TELEMETRY=1"
	@echo "make pictures      make the README's pictures anew, from the scenario; a browser is needed"
	@echo "make outputs       write what commands print into the docs again, from the scenario"
	@echo "make schemas       write the JSON Schemas of events into docs/schemas again"
	@echo "make clean         remove what these made"

$(BIN)/.run: requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(BIN)/.dev: $(BIN)/.run requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(BIN)/.run
	$(BIN)/python -m emulators.demo $(if $(COUNTS),--counts "$(COUNTS)")

# It stays until Ctrl-C; what it leaves is in .scenario.
scenario: $(BIN)/.run
	@$(BIN)/python -m emulators.scenario

# Else each worker, and each command that tests start, compiles all modules anew where the shell says not to keep that.
test deploy-check deploy-systems long: export PYTHONDONTWRITEBYTECODE :=

test: lint types azurite runtime
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

deploy-check: $(BIN)/.dev azurite runtime
	$(BIN)/pytest -m deploy -n 2

# Each system is fetched from its own archive, into a folder that is removed.
deploy-systems: $(BIN)/.dev
	$(BIN)/pytest -m systems $(if $(ONLY),-k "$(ONLY)")

long: $(BIN)/.dev azurite
	$(BIN)/pytest -n $(WORKERS) -m long

lint: $(BIN)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(BIN)/.dev
	$(BIN)/mypy

# The real storage emulator, and a client of Event Hubs; without node their tests say that they are skipped (never in CI).
azurite: package.json
	@if command -v npm >/dev/null; then \
	  test node_modules/.installed -nt package.json || { npm install --no-package-lock --no-audit --no-fund --loglevel=error && touch node_modules/.installed; }; \
	else echo "npm was not found: the tests of the table store, and of a client for JavaScript, will be skipped"; fi

# Microsoft's own runtime of Python functions, which needs Python 3.13.
runtime: $(BIN)/.dev
	@$(BIN)/python -m tools.runtime_venv

# After a change to requirements*.txt; a test says where it was forgotten.
lock: $(BIN)/.dev
	$(BIN)/python -m tools.locks $(if $(UPGRADE),--upgrade)

# What is deployed, in an environment of its own; `python -m app audit` is about readings, not packages.
licences sbom vulnerabilities: $(BIN)/.dev
	$(BIN)/python -m tools.dependencies $@

# STORE=json or table, SEED=... to do one again; WRITE=1 puts the result into docs/faults.md.
torture: $(BIN)/.dev azurite
	$(BIN)/python -m tests.crashes.torture --runs $(or $(N),1000) $(if $(SEED),--seed $(SEED)) $(if $(STORE),--store $(STORE)) $(if $(WRITE),--write)

crashes: $(BIN)/.dev azurite
	$(BIN)/python -m tests.crashes.enumeration --workers $(WORKERS) $(if $(STORE),--store $(STORE)) $(if $(WRITE),--write)
	$(BIN)/python -m tests.crashes.failing --workers $(WORKERS) $(if $(STORE),--store $(STORE)) $(if $(WRITE),--write)

simulate: $(BIN)/.dev
	$(BIN)/python -m tests.simulation --runs $(or $(N),100000) --seed $(or $(SEED),1) $(if $(WRITE),--write)

faults: $(BIN)/.dev azurite
	$(BIN)/python -m tests.faults --workers $(WORKERS) $(if $(WRITE),--write)

# What it finds is kept among the seeds, which make test replays; SEED=... to do one again.
fuzz: $(BIN)/.dev
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(foreach one,$(TARGET),--target $(one)) $(if $(SEED),--seed $(SEED)) $(if $(WRITE),--write)

# ONLY=text for those whose name or file holds it.
breaks: $(BIN)/.dev azurite
	$(BIN)/python -m tools.planted_breaks --jobs $(or $(JOBS),2) $(if $(ONLY),--only "$(ONLY)") $(if $(WRITE),--write)

# WRITE=1 puts the result into docs/performance.md.
bench: $(BIN)/.dev azurite
	$(BIN)/python -m benchmarks $(if $(ONLY),"$(ONLY)") $(if $(LONG),--long) $(if $(WRITE),--write)

# Whoever installs it has no need of this tree; the same of `pip install .`, which builds it by itself.
wheel: $(BIN)/.dev
	$(BIN)/python -m hatchling build -t wheel

# For each Python that Azure is to run it with; nothing is built there then.
package: $(BIN)/.dev
	$(BIN)/python -m tools.package $(PYTHON_OF) $(if $(TELEMETRY),--telemetry)

pictures: $(BIN)/.dev
	$(BIN)/python -m tools.pictures

# What of them is compared is in tests/emulators/test_scenario.py.
outputs: $(BIN)/.dev
	$(BIN)/python -m tools.command_outputs

schemas: $(BIN)/.dev
	$(BIN)/python -m tools.event_schemas

clean:
	rm -rf $(VENV) .venvs node_modules dist .demo .scenario .mypy_cache .ruff_cache .pytest_cache .hypothesis
