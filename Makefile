# The commands of the README. Each makes its own environment in .venv first, from pyproject.toml and constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
COURSE := autograder/course

.DEFAULT_GOAL := help
.PHONY: help environment book pdf test quick bench bundle lab clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

environment: ## make or renew .venv (the other commands do it by themselves)
	@$(PYTHON) -I autograder/environment.py .venv

book: environment ## build the exercise notebooks and the book, and print the page to open
	@$(BIN)/python -m autograder book

pdf: environment ## typeset the built book as one PDF, for paper; needs LaTeX, and says which packages of Debian bring it
	@$(BIN)/python -m autograder pdf

test: environment ## run every check: code, notebooks, variants, the built book
	@$(BIN)/ruff check .
	@$(BIN)/python -m autograder book
	@$(BIN)/python -m autograder check
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not alone"
	@$(BIN)/python -m pytest -q -m alone

quick: environment ## the checks for the loop while writing: no notebooks, no book
	@$(BIN)/ruff check .
	@$(BIN)/python -m autograder check --quick
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

bench: environment ## time a class of 40 beside plain nbgrader; takes long (BENCH="--students 6" for a taste)
	@$(BIN)/python -m autograder bench $(BENCH)

bundle: environment ## make the zip file for students: notebooks, lmkit as a wheel, what installs it (BUNDLE="--to FILE")
	@$(BIN)/python -m autograder bundle $(BUNDLE)

lab: environment ## open JupyterLab on your own copies of the exercise notebooks, which nothing overwrites (LAB="--port 9999" passes options)
	@$(BIN)/python -m autograder work
	@cd $(COURSE)/work && ../../../$(BIN)/jupyter lab $(LAB)

clean: ## remove what was built: the book, source/ and release/ (never submissions, grades or your own work)
	rm -rf book/_build $(COURSE)/source $(COURSE)/release .pytest_cache .ruff_cache .hypothesis build
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
