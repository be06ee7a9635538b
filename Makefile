# Two commands do everything: `make demo` and `make test`. Both make .venv first.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
SOURCES = gcnet_tf scripts tests

.PHONY: venv demo camvid test check format lint types clean

# A file, not the folder, says that the installation finished.
$(VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

venv: $(VENV)/installed

# The whole line on generated images: data, training, scores, export, a picture.
demo: venv
	$(BIN)/python scripts/demo.py

# The same on real images, ../shared/camvid, against the reference's loss curve.
camvid: venv
	$(BIN)/python scripts/camvid.py

test: venv
	$(BIN)/python -m pytest

check: venv
	$(BIN)/black --quiet --check --diff $(SOURCES)
	$(BIN)/isort --quiet --check $(SOURCES)
	$(BIN)/flake8 $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: venv
	$(BIN)/isort --quiet $(SOURCES)
	$(BIN)/black --quiet $(SOURCES)

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache
