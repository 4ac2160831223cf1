# Entry points. `make help` lists them; what they do is in scripts/.

SHELL := /bin/sh
.PHONY: help build demo test bench parity clean

help:
	@echo 'make demo     install what is missing, build in release, and run tlens on a tiny random GPT-2'
	@echo 'make test     install what is missing, then everything that continuous integration runs'
	@echo 'make build    install what is missing, and build .build/release/tlens'
	@echo 'make bench    measure this package beside its Python peers (bench/README.md says what that needs)'
	@echo 'make parity   compare one run of MODEL with TransformerLens and Hugging Face (needs Python)'
	@echo 'make clean    remove what was built'

build:
	@scripts/build.sh

demo: build
	@scripts/demo.sh

test:
	@scripts/test.sh

bench:
	@scripts/install-packages.sh
	swift run -c release --package-path bench lens-bench

# make parity MODEL=FOLDER [TOKENS=1,2,3] [PYTHON=.venv/bin/python]
MODEL ?= demo/tiny-gpt2
TOKENS ?= 1,2,3,4,5,6,7,8
PYTHON ?= python3
parity: build
	@test -e $(MODEL)/config.json || { mkdir -p $(MODEL) && .build/release/make-tiny-model $(MODEL); }
	@mkdir -p demo
	.build/release/tlens run $(MODEL) --tokens $(TOKENS) --cache all --processing none --out demo/parity.safetensors > demo/parity.txt
	$(PYTHON) bench/python/parity.py $(MODEL) demo/parity.safetensors

clean:
	rm -rf .build demo
