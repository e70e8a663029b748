# Two commands on a fresh machine: `make demo` and `make test`. PYTHON=... chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
# Asked for first and by its number: an open range would fetch the build for GPUs with gigabytes of libraries.
TORCH ?= torch==2.13.0

.PHONY: demo test lint bench clean

demo: .venv/installed
	$(BIN)/tenor train sample --out runs/demo --overwrite
	@echo
	$(BIN)/tenor predict -m runs/demo "The soup was delicious and the staff were so kind." \
	  "It broke after two days and nobody answers my emails." "I expected to hate it, but I loved every page."
	@echo
	@echo "Everything is in runs/demo: open runs/demo/report.html; the model card is runs/demo/README.md."

test: .venv/installed-dev
	$(BIN)/python -m pytest

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

# The numbers of docs/results.md; needs TENOR_DATA and about half an hour.
bench: .venv/installed
	$(BIN)/python benchmarks/reviews.py

.venv/installed: pyproject.toml CMakeLists.txt $(wildcard csrc/*)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build
