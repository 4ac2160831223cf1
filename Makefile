# Entry points. `make help` lists them; what they do is in scripts/.

SHELL := /bin/sh
.PHONY: help build demo test bench bench-quick bench-built parity grok sanitize fuzz clean

help:
	@echo 'make demo     install what is missing, build in release, and look inside tiny-ioi, the model that is part of tlens'
	@echo 'make test     install what is missing, then everything that continuous integration runs'
	@echo 'make build    install what is missing, and build .build/release/tlens'
	@echo 'make bench    everything measured beside TransformerLens, Hugging Face, llama.cpp and PyTorch: one table, JSON and a plot in demo/ (20 minutes)'
	@echo 'make bench-quick  the core of it, beside Hugging Face and llama.cpp (3 minutes)'
	@echo 'make parity   rebuild docs/parity.md from the goldens; with MODEL=FOLDER, compare a run of it with TransformerLens and Hugging Face (needs Python)'
	@echo 'make grok     train a small model until it groks (Nanda et al. 2023), in demo/grok, and show what it learned; tens of minutes'
	@echo 'make sanitize the tests under the address and the thread sanitizer'
	@echo 'make fuzz     damaged files, ROUNDS of them for each format (20000)'
	@echo 'make clean    remove what was built'

build:
	@scripts/build.sh

demo: build
	@scripts/demo.sh

test:
	@scripts/test.sh

# make bench, bench-quick: the peers are installed in bench/python/.venv the first time, and models of 2 GB made beside it
# (LENS_BENCH_PYTHON: an interpreter that has the peers; LENS_BENCH_MODELS: another folder). With a TOKENIZER=tokenizer.json,
# beside Hugging Face tokenizers too.
PYTHON ?= python3
bench-built:
	@scripts/install-packages.sh
	swift build -c release --package-path bench

bench: bench-built
	@mkdir -p demo
	@set -e; made=$$(bench/python/setup.sh); set -- $$made; \
	"$$1" bench/python/bench.py "$$2" --json demo/bench.json --table demo/bench.md --plot demo/scale.svg
	bench/.build/release/lens-bench products
	bench/.build/release/lens-bench kernels
	$(if $(TOKENIZER),$(PYTHON) bench/python/text.py $(TOKENIZER))

bench-quick: bench-built
	@mkdir -p demo
	@set -e; made=$$(bench/python/setup.sh); set -- $$made; "$$1" bench/python/bench.py "$$2" --quick --json demo/bench-quick.json

# make parity [MODEL=FOLDER [TOKENS=1,2,3] [PYTHON=.venv/bin/python]]
TOKENS ?= 1,2,3,4,5,6,7,8
parity: $(if $(MODEL),build)
	$(if $(MODEL),@mkdir -p demo,LENS_PARITY_TABLE=1 swift test --filter ParityTableTests)
	$(if $(MODEL),.build/release/tlens run $(MODEL) --tokens $(TOKENS) --cache all --processing none --out demo/parity.safetensors)
	$(if $(MODEL),$(PYTHON) bench/python/parity.py $(MODEL) demo/parity.safetensors)

# make grok [STEPS=25000]: stopped, it goes on where it was.
STEPS ?= 25000
grok: build
	@mkdir -p demo
	.build/release/tlens grok --steps $(STEPS) --out demo/grok

sanitize:
	@scripts/sanitize.sh

ROUNDS ?= 20000
fuzz:
	@scripts/fuzz.sh $(ROUNDS)

clean:
	rm -rf .build .build-asan .build-tsan bench/.build demo
