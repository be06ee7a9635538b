# Two commands do everything: `make demo` and `make test`. Both make .venv first.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
SOURCES = gcnet_tf scripts tests examples

.PHONY: venv demo camvid family parity mediapipe web-test cloud-test cloud-faults beam-test golden faults network fuzz determinism test test-lesser coverage test-addons check audit locks format docs clean

# A file, not the folder, says that the installation finished.
# pip refuses a file whose hash is not listed.
LOCKED = install --quiet --disable-pip-version-check --no-deps
$(VENV)/installed: setup.cfg locks/default.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip $(LOCKED) --require-hashes -r locks/default.txt
	$(BIN)/pip $(LOCKED) --no-build-isolation -e .
	$(BIN)/pip check
	touch $@

venv: $(VENV)/installed

PARITY_VENV = .venv-parity

# The whole line on generated images: data, training, scores, export, a picture.
demo: venv
	$(BIN)/python scripts/demo.py

# The recipes on real images, ../shared/camvid, with three seeds, and mmsegmentation's own
# training of the first one: ten hours of a core; goes on where it was.
camvid: venv $(PARITY_VENV)/installed
	$(BIN)/python scripts/compare.py --cfg camvid_r18 camvid_r18_tuned \
		camvid_mobilenetv2_ft --seeds 0 1 2 --reference --runs runs/camvid \
		--out docs/results/camvid

# The head with each context block, trained alike on these images: goes on where it was.
family: venv
	$(BIN)/python scripts/compare.py --cfg camvid_r18 camvid_r18_nl camvid_r18_snl \
		camvid_r18_se camvid_r18_none --iterations 400 --runs runs/family

# Addresses beside local stores, S3 and Google's, with faults: an environment that adds
# the extra `cloud` and these stores to .venv.
CLOUD_VENV = .venv-cloud
$(CLOUD_VENV)/installed: tests/cloud/requirements.txt locks/cloud.txt $(VENV)/installed
	$(PYTHON) -m venv $(CLOUD_VENV)
	$(BIN)/python -c "import sysconfig as s; print('import site; site.addsitedir(%r)' % s.get_path('purelib'))" \
	  > $$(echo $(CLOUD_VENV)/lib/python3*/site-packages)/venv.pth
	$(CLOUD_VENV)/bin/pip $(LOCKED) --require-hashes -r locks/cloud.txt
	$(CLOUD_VENV)/bin/pip install --quiet --disable-pip-version-check \
	  -c constraints-cloud.txt -r tests/cloud/requirements.txt
	touch $@

cloud-test: $(CLOUD_VENV)/installed
	$(CLOUD_VENV)/bin/python -m pytest -rs tests/cloud

# Each fault at each request: docs/results/addresses.md; some minutes.
cloud-faults: $(CLOUD_VENV)/installed
	$(CLOUD_VENV)/bin/python tests/cloud/run.py

# Engines of Apache Beam, which wants older versions of some packages: an environment
# that puts the extra `beam`, and Dask as a second engine, before those of .venv.
BEAM_VENV = .venv-beam
$(BEAM_VENV)/installed: locks/beam.txt $(VENV)/installed
	$(PYTHON) -m venv $(BEAM_VENV)
	$(BIN)/python -c "import sysconfig as s; print('import site; site.addsitedir(%r)' % s.get_path('purelib'))" \
	  > $$(echo $(BEAM_VENV)/lib/python3*/site-packages)/venv.pth
	$(BEAM_VENV)/bin/pip $(LOCKED) --require-hashes -r locks/beam.txt
	touch $@

beam-test: $(BEAM_VENV)/installed
	$(BEAM_VENV)/bin/python -m pytest -rs -m "not slow" tests/beam

# mmsegmentation itself, which the package never needs: an environment of its own.
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

# The page for browsers in Chromium, by Playwright: an environment that adds it to .venv.
# Without a Chromium the tests are skipped, and say what to install.
WEB_VENV = .venv-web
$(WEB_VENV)/installed: tests/web/requirements.txt $(VENV)/installed
	$(PYTHON) -m venv $(WEB_VENV)
	$(WEB_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	$(BIN)/python -c "import sysconfig as s; print('import site; site.addsitedir(%r)' % s.get_path('purelib'))" \
	  > $$(echo $(WEB_VENV)/lib/python3*/site-packages)/venv.pth
	touch $@

web-test: $(WEB_VENV)/installed
	$(WEB_VENV)/bin/python -m pytest -rs tests/web

# The reference's numbers that the tests compare with, computed again.
golden: $(PARITY_VENV)/installed
	$(PARITY_VENV)/bin/python tests/parity/make_golden.py

# Kills, flipped bits, odd images and settings, and memory: docs/results/faults.md; half an hour.
faults: venv
	$(BIN)/python tests/faults/run.py

# Two hosts on one machine, and their cable: docs/results/network.md. Needs root.
network: venv
	$(BIN)/python tests/faults/run.py cables
	$(BIN)/python scripts/benchmark.py network

# Readers of files from others, on bytes that a fuzzer makes: docs/safety.md.
EACH = 60
READERS = torch_checkpoint manifest configuration record label
fuzz: venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r tests/fuzz/requirements.txt
	for reader in $(READERS); do \
	  $(BIN)/python tests/fuzz/fuzz_run.py $$reader --seconds $(EACH) || exit 1; done

# 1 device, 2 replicas and 2 workers train alike: docs/results/determinism.md.
determinism: venv
	$(BIN)/python scripts/determinism.py
	$(BIN)/python scripts/determinism.py --scaling
	$(BIN)/python scripts/determinism.py --exchange

# One process a core, a file of tests to one process, because of their shared fixtures.
PARALLEL = -m pytest -n auto --dist loadfile --no-loadscope-reorder

# Without what takes long: `make check` runs all. docs/testing.md
test: venv
	$(BIN)/python $(PARALLEL) -m "not slow"

# Where TensorFlow computes in other ways on other processors: without oneDNN's kernels,
# as it does by itself with AVX2 alone.
LESSER = tests/layers tests/models/test_inference_graph.py tests/training/test_loop.py \
	tests/benchmarks/test_convolutions.py
test-lesser: venv
	TF_ENABLE_ONEDNN_OPTS=0 $(BIN)/python $(PARALLEL) $(LESSER)

# Which lines the tests run, also in processes that they start.
coverage: venv
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist loadfile --no-loadscope-reorder
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered

# The stack for tensorflow-addons, which Python 3.12 does not have: docs/addons.md.
PYTHON_ADDONS ?= python3.11
ADDONS_VENV = .venv-addons
$(ADDONS_VENV)/installed: setup.cfg locks/addons.txt
	$(PYTHON_ADDONS) -m venv $(ADDONS_VENV)
	$(ADDONS_VENV)/bin/pip $(LOCKED) --require-hashes -r locks/addons.txt
	$(ADDONS_VENV)/bin/pip $(LOCKED) --no-build-isolation -e .
	$(ADDONS_VENV)/bin/pip check
	touch $@

# The tests there, and what one stack has written read by the other. The few that are
# skipped are listed at the end, each with its reason (-rs). Left out is what does not
# see Keras, and what takes long and is the same on both: speed, kills, flipped bits.
BOTH = tests/stacks tests/training/test_multi_worker.py
NOT_KERAS = $(addprefix --ignore tests/,benchmarks faults fuzz config runtime files visualize \
	data/sources data/check data/test_shapes.py weights/test_torch_file.py \
	training/distributed/test_launch.py test_package.py test_docs.py test_processor.py \
	test_locks.py)
test-addons: venv $(ADDONS_VENV)/installed
	GCNET_TF_OTHER_PYTHON=$(abspath $(BIN))/python $(ADDONS_VENV)/bin/python $(PARALLEL) -rs -m "not slow" $(NOT_KERAS)
	GCNET_TF_OTHER_PYTHON=$(abspath $(BIN))/python $(ADDONS_VENV)/bin/python $(PARALLEL) -rs $(BOTH)
	GCNET_TF_OTHER_PYTHON=$(abspath $(ADDONS_VENV)/bin)/python $(BIN)/python $(PARALLEL) tests/stacks

check: venv
	$(BIN)/black --quiet --check --diff $(SOURCES)
	$(BIN)/isort --quiet --check $(SOURCES)
	$(BIN)/flake8 $(SOURCES)
	$(BIN)/codespell
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy
	$(BIN)/python $(PARALLEL)

# The lock files: known vulnerabilities, and hashes of all files that PyPI has of the
# versions in the constraints.
CI_VENV = .venv-ci
$(CI_VENV)/installed: .ci/requirements.txt
	$(PYTHON) -m venv $(CI_VENV)
	$(CI_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

audit: $(CI_VENV)/installed
	$(CI_VENV)/bin/python .ci/audit.py locks/default.txt locks/addons.txt locks/cloud.txt locks/beam.txt

LOCK = $(CI_VENV)/bin/uv pip compile --quiet --no-config --generate-hashes --no-deps \
	--no-annotate --no-header --python-version 3.11
locks: $(CI_VENV)/installed
	$(LOCK) constraints.txt --output-file locks/default.txt
	$(LOCK) constraints-addons.txt --output-file locks/addons.txt
	$(LOCK) constraints-cloud.txt --output-file locks/cloud.txt
	$(LOCK) constraints-beam.txt --output-file locks/beam.txt

# Pages of the Python interface, from the docstrings. Each module is named, because pdoc
# leaves out the modules of a package that lists its public names.
MODULES = $(subst /,.,$(basename $(shell git ls-files 'gcnet_tf/*.py' | grep -v '/__\|addons_layers')))
docs: venv
	$(BIN)/pdoc --docformat google --output-directory docs/api $(MODULES)

format: venv
	$(BIN)/isort --quiet $(SOURCES)
	$(BIN)/black --quiet $(SOURCES)

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache
