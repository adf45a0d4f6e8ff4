# One command for each check. `.ci/run` runs lint, types, docs, demo and test in a fresh environment; the tools are
# those of the active one: pip install -e '.[dev]'.

TESTS ?= tests
# What test, test-fast and coverage run: make test TESTS=tests/runtimes

.PHONY: lint types test test-fast docs demo examples coverage coverage-floors

lint:
	ruff check .
	ruff format --check .

# Over an installed tree, because the root folders import as emo_edge.*; build/lib would keep modules that moved.
types:
	rm -rf build/lib build/types
	pip install --quiet --no-deps --no-build-isolation --target build/types .
	cd build/types && mypy --config-file ../../pyproject.toml -p emo_edge

test:
	pytest $(TESTS)

test-fast:
	pytest -m "not slow" $(TESTS)

docs:
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

# The main job of the README, cold: it fails where the exact profile is not exact on 500 drawings.
demo:
	rm -rf build/cache
	XDG_CACHE_HOME=build/cache emo-edge demo

examples:
	pytest tests/test_examples.py

coverage:
	coverage erase
	coverage run -m pytest $(TESTS)
	coverage combine --quiet
	coverage json --quiet -o build/coverage.json
	python .ci/coverage_floors.py build/coverage.json

# After a whole `make coverage`: today's coverage becomes the floor.
coverage-floors:
	python .ci/coverage_floors.py build/coverage.json --update
