# Two commands on a fresh machine: `make demo` and `make test`. PYTHON=... chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
# Asked for first and by its number: an open range would fetch the build for GPUs with gigabytes of libraries.
TORCH ?= torch==2.13.0

.PHONY: demo test lint bench box aarch64 clean

demo: .venv/installed
	$(BIN)/tenor predict "I expected to hate it, but I loved every page." "The plot is thin and the jokes are worse."
	@echo
	$(BIN)/tenor train sample --out runs/demo --overwrite
	@echo
	$(BIN)/tenor predict -m runs/demo "The soup was delicious and the staff were so kind." \
	  "It broke after two days and nobody answers my emails." "I expected to hate it, but I loved every page."
	@echo
	@echo "Everything is in runs/demo: open runs/demo/report.html; the model card is runs/demo/README.md."

# Two files of tests at a time, in their order: the one that builds the engine anew takes longest, and must not come last.
test: .venv/installed-dev
	GOMP_SPINCOUNT=1000 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

# The numbers of docs/results.md; needs TENOR_DATA, an idle machine and about an hour. Other libraries run in an environment of
# their own: .venv-peers, or that of PEER_PYTHON=... (with tensorflow, keras, onnx, onnxruntime and safetensors).
PEER_PYTHON ?=
BENCH_MODEL := runs/bench128
bench: .venv/installed $(if $(PEER_PYTHON),,.venv-peers/installed) $(BENCH_MODEL)/config.json
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/inference.py $(BENCH_MODEL) --peer-python $(or $(PEER_PYTHON),.venv-peers/bin/python)
	$(BIN)/python benchmarks/against_keras.py --peer-python $(or $(PEER_PYTHON),.venv-peers/bin/python)
	$(BIN)/python benchmarks/reviews.py

$(BENCH_MODEL)/config.json: | .venv/installed
	$(BIN)/tenor train imdb --preset base --hidden 128 --embedding 128 --max-tokens 400 --split range --train-rows 39258 --test-rows 5000 \
	  --no-baseline --out $(BENCH_MODEL)

# The model that ships inside the package, made anew with its card; needs TENOR_DATA. BOX="--model FOLDER": from one trained already.
BOX ?=
box: .venv/installed
	$(BIN)/python benchmarks/box.py $(BOX)

# The engine for AArch64, under emulation: the bits of every result must be those of this machine's portable kernels. Needs a cross
# compiler and QEMU (Debian: g++-aarch64-linux-gnu qemu-user). CMakeLists.txt has the flags.
ENGINE_BITS := -std=c++20 -O2 -fopenmp -static -fno-math-errno -ffp-contract=off -Wno-psabi -DTENOR_ISA=portable \
  csrc/engine.cpp csrc/memory.cpp csrc/instruction_sets.cpp csrc/rows.cpp csrc/sequence.cpp tests/engine_bits.cpp
aarch64:
	mkdir -p build
	g++ $(ENGINE_BITS) -o build/engine_bits
	aarch64-linux-gnu-g++ $(ENGINE_BITS) -o build/engine_bits_aarch64
	build/engine_bits > build/engine_bits.txt
	qemu-aarch64 build/engine_bits_aarch64 > build/engine_bits_aarch64.txt
	cmp build/engine_bits.txt build/engine_bits_aarch64.txt
	@echo "The same bits in all $$(wc -l < build/engine_bits.txt) cases."

.venv-peers/installed:
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet tensorflow-cpu keras onnx onnxruntime numpy safetensors
	touch $@

# The engine is compiled by each of these two: test and lint set up once, with the tools for both.
SETUP := test -x $(BIN)/python || $(PYTHON) -m venv .venv; $(BIN)/pip install --quiet $(TORCH)

.venv/installed: pyproject.toml CMakeLists.txt $(wildcard csrc/*)
	$(SETUP)
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-dev: pyproject.toml CMakeLists.txt $(wildcard csrc/*)
	$(SETUP)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch .venv/installed $@

clean:
	rm -rf .venv .venv-peers runs build
