# Two commands do everything from a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test docs bench clean

demo: .venv/ready
	$(BIN)/python tools/demo.py

test: .venv/ready-dev
	$(BIN)/python tools/check

docs: .venv/ready-dev
	$(BIN)/python -m tools.documentation.make_site

bench: .venv/ready-dev
	$(BIN)/python -m tools.benchmarks.bench

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("ganpatch needs Python 3.11 or later, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

clean:
	rm -rf .venv demo build
