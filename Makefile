# The commands that people and CI type. Each sets up .venv first; done already, that costs nothing.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format soak test-virtualcam weights

PYTHON_BIN := .venv/bin/python

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: ## .venv from constraints.txt, and the system libraries
	@scripts/setup.sh

demo: setup ## the main job with nothing plugged in; writes demo.mp4
	@$(PYTHON_BIN) -m lia_live demo

test: lint ## formatting, lint, types and all tests
	@$(PYTHON_BIN) -m pytest

lint: setup ## formatting, lint and types only
	@$(PYTHON_BIN) -m ruff format --check .
	@$(PYTHON_BIN) -m ruff check .
	@$(PYTHON_BIN) -m mypy

format: setup ## put every file in order
	@$(PYTHON_BIN) -m ruff format .
	@$(PYTHON_BIN) -m ruff check --fix .

soak: setup ## long runs and kill tests in number
	@$(PYTHON_BIN) -m pytest -m soak --timeout 3600

test-virtualcam: setup ## a real virtual camera, in a virtual machine
	@tests/virtualcam/run.sh

weights: setup ## the default weights from a folder of faces: make weights FACES=../faces RUN=runs/weights [MINUTES=15 ONLY="P1 GRID" REST=GRID]
	@scripts/weights.sh $(FACES) $(RUN) $(MINUTES)
