# Two commands do everything: `make demo` and `make test`. Both make .venv first.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
SOURCES = gcnet_tf scripts tests

.PHONY: venv demo camvid family parity mediapipe golden faults determinism test test-addons check format clean

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

# The head with each context block, trained alike on these images: goes on where it was.
family: venv
	$(BIN)/python scripts/compare_blocks.py

# mmsegmentation itself, which the package never needs: an environment of its own.
PARITY_VENV = .venv-parity
$(PARITY_VENV)/installed: tests/parity/requirements.txt
	$(PYTHON) -m venv $(PARITY_VENV)
	$(PARITY_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Both implementations side by side: the 16 published rows, and scores on real images.
parity: venv $(PARITY_VENV)/installed
	$(BIN)/python tests/parity/live.py --python $(PARITY_VENV)/bin/python

# Exported TFLite files in the client that phone apps use, in an environment of its own.
MEDIAPIPE_VENV = .venv-mediapipe
$(MEDIAPIPE_VENV)/installed: tests/mediapipe/requirements.txt
	$(PYTHON) -m venv $(MEDIAPIPE_VENV)
	$(MEDIAPIPE_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# A drawn model; for a trained one: make mediapipe MODEL="--model runs/camvid_r18"
mediapipe: venv $(MEDIAPIPE_VENV)/installed
	$(BIN)/python tests/mediapipe/live.py --python $(MEDIAPIPE_VENV)/bin/python $(MODEL)

# The reference's numbers that the tests compare with, computed again.
golden: $(PARITY_VENV)/installed
	$(PARITY_VENV)/bin/python tests/parity/make_golden.py

# Kills, flipped bits, odd images and settings, and memory: docs/faults.md; half an hour.
faults: venv
	$(BIN)/python tests/faults/run.py

# 1 device, 2 replicas and 2 workers train alike: docs/determinism.md.
determinism: venv
	$(BIN)/python scripts/determinism.py
	$(BIN)/python scripts/determinism.py --scaling
	$(BIN)/python scripts/determinism.py --exchange

test: venv
	$(BIN)/python -m pytest

# The stack for tensorflow-addons, which Python 3.12 does not have: docs/addons.md.
PYTHON_ADDONS ?= python3.11
ADDONS_VENV = .venv-addons
$(ADDONS_VENV)/installed: setup.cfg constraints-addons.txt
	$(PYTHON_ADDONS) -m venv $(ADDONS_VENV)
	$(ADDONS_VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints-addons.txt -e ".[addons,dev]"
	touch $@

# The tests there, and what one stack has written read by the other. The few that are
# skipped are listed at the end, each with its reason (-rs). Left out is what takes long
# and does not depend on the stack: speed beside the reference, kills and flipped bits.
test-addons: venv $(ADDONS_VENV)/installed
	$(ADDONS_VENV)/bin/pip check
	GCNET_TF_OTHER_PYTHON=$(abspath $(BIN))/python $(ADDONS_VENV)/bin/python -m pytest -rs --ignore tests/benchmark --ignore tests/faults
	GCNET_TF_OTHER_PYTHON=$(abspath $(ADDONS_VENV)/bin)/python $(BIN)/python -m pytest tests/stacks

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
