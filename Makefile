# surefoot: `make demo` learns a reward from comparisons, `make test` runs the tests.
# Each target makes its own environment in .venv on first use.
#   PYTHON=python3.12 make test     another interpreter (3.10 to 3.13)
#   TORCH="torch==2.13.0" make test another torch; pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS, …) are honoured

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
RUN_DIR ?= runs/demo
SYSTEM_LIBRARIES := libegl1 libgl1-mesa-dri
# Debian keeps it where only root's PATH looks.
LDCONFIG := $(shell command -v ldconfig || echo /sbin/ldconfig)
# "auto": one worker a core for the tests
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test test-cluster lint format bench doctor habitat try-habitat colcon try-colcon lock system chromium postgres frontend clean

help:
	@echo "make demo     install, then learn a reward from simulated comparisons: $(RUN_DIR)/report.html"
	@echo "make test     install, then run the tests"
	@echo "make test-cluster  the tests that need Ray"
	@echo "make lint     ruff and mypy"
	@echo "make bench    the quick form of every benchmark"
	@echo "make doctor   what this machine has, and the fix for what it lacks"
	@echo "make habitat  Habitat-Lab in an environment of its own, .venv-habitat"
	@echo "make lock     write requirements.lock anew"
	@echo "make frontend check, test and build the labelling page anew (needs Node; its users do not)"

# torch first and alone, so that a CPU build is not followed by gigabytes of CUDA. Without an NVIDIA
# GPU, and where pip's own settings offer no CPU build, uv's torch back-end finds one.
$(BIN)/.train: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "surefoot needs Python 3.10 to 3.13, $(PYTHON) is $$($(PYTHON) --version): try make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv module is missing: sudo apt-get install -y python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@if ! command -v nvidia-smi >/dev/null \
	  && ! $(BIN)/python -m pip install --dry-run --no-deps --quiet --report - "$(TORCH)" 2>/dev/null | grep -q '+cpu'; then \
	  $(BIN)/python -m pip install --quiet uv \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend cpu "$(TORCH)" \
	  || echo "no CPU build of torch found: pip takes the default one"; fi
	$(BIN)/python -m pip install --quiet -c requirements.lock "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c requirements.lock -e ".[sim,train,label]"
	touch $@

$(BIN)/.dev: $(BIN)/.train
	$(BIN)/python -m pip install --quiet -c requirements.lock -e ".[sim,train,label,s3,sweep,minari,record,lerobot,ros,dev]"
	touch $@

# Ray: 200 MB, which only those with several machines need. It warns of much.
$(BIN)/.cluster: $(BIN)/.dev
	$(BIN)/python -m pip install --quiet -c requirements.lock -e ".[cluster]"
	touch $@

# EnvPool is a peer to measure against: 740 MB of assets that nothing else needs.
$(BIN)/.bench: $(BIN)/.dev
	$(BIN)/python -m pip install --quiet -c requirements.lock -e ".[sim,train,label,s3,cluster,minari,envpool,record,lerobot,ros,dev]"
	touch $@

# Habitat-Lab pins an old NumPy and gym: it gets an environment of its own, and runs as a process beside ours.
# Without dependencies, because the list below is what it needs: OpenCV without a GUI and without 5.0, which
# breaks it; a newer NumPy where its own has no wheels; setuptools, whose distutils gym imports.
# numba as ours, whose machine code it then shares.
HABITAT := .venv-habitat
HABITAT_LAB := habitat-lab==0.3.320260507
HABITAT_NEEDS := "numpy==1.26.4; python_version<'3.13'" "numpy>=2.1,<2.4; python_version>='3.13'" \
  "opencv-python-headless>=4.9,<5" "numpy-quaternion>=2024" "hydra-core>=1.3,<1.4" attrs imageio scipy tqdm \
  cloudpickle gym-notices setuptools "gymnasium>=1.1,<2"
habitat: $(HABITAT)/.$(HABITAT_LAB)
# uv where it is there and its settings find everything: a sixth of pip's time.
HABITAT_PIP = install() { \
  { test -x $(BIN)/uv && $(BIN)/uv pip install --quiet --python $(HABITAT)/bin/python "$$@" 2>/dev/null; } \
  || $(HABITAT)/bin/python -m pip install --quiet "$$@"; }; install
$(HABITAT)/.$(HABITAT_LAB):
	test -x $(HABITAT)/bin/python || $(PYTHON) -m venv $(HABITAT)
	@$(HABITAT_PIP) $(HABITAT_NEEDS) "$$(grep '^numba==[0-9.]*$$' requirements.lock || echo numba)"
	@$(HABITAT_PIP) --no-deps $(HABITAT_LAB) gym==0.23.0
	touch $@

try-habitat:
	@$(MAKE) --no-print-directory habitat || echo "Habitat-Lab could not be installed: its tests will be skipped"

# colcon wants an old setuptools: its own environment, in which the test builds the package in launch/.
COLCON := .venv-colcon
colcon: $(COLCON)/.colcon
$(COLCON)/.colcon:
	test -x $(COLCON)/bin/python || $(PYTHON) -m venv $(COLCON)
	$(COLCON)/bin/python -m pip install --quiet "colcon-core==0.21.3" "colcon-ros==0.5.0" "colcon-python-setup-py==0.2.9" \
	  "colcon-package-information==0.4.1" "colcon-recursive-crawl==0.2.3" "setuptools<80"
	touch $@

try-colcon:
	@$(MAKE) --no-print-directory colcon || echo "colcon could not be installed: its test will be skipped"

# Off-screen rendering needs a GL library from the system; without the right to install it, say which.
system:
	@$(LDCONFIG) -p | grep -q libEGL.so.1 && $(LDCONFIG) -p | grep -q libEGL_mesa \
	  || $(MAKE) --no-print-directory apt PACKAGES="$(SYSTEM_LIBRARIES)" WHY="head-less rendering (videos)"

# The browser tests drive Debian's chromium.
chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	  || $(MAKE) --no-print-directory apt PACKAGES=chromium WHY="the browser tests"

# The tests start a server of their own, on a socket, as another user.
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
	  || $(MAKE) --no-print-directory apt PACKAGES=postgresql WHY="the tests of labelling on PostgreSQL"

.PHONY: apt
apt:
	@if ! command -v apt-get >/dev/null; then echo "please install $(PACKAGES): needed for $(WHY)"; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	elif sudo -n true 2>/dev/null; then sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	else echo "needed for $(WHY): sudo apt-get install -y $(PACKAGES)"; fi

demo: $(BIN)/.train system
	$(BIN)/surefoot demo --run $(RUN_DIR)

test: $(BIN)/.dev system chromium postgres try-habitat try-colcon
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-cluster: $(BIN)/.cluster
	$(BIN)/python -m pytest -m cluster -n 0 -W ignore tests/test_agents_sweep_*.py

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(BIN)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BIN)/.bench system try-habitat
	set -e; for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file --quick; done

doctor: $(BIN)/.train
	$(BIN)/surefoot doctor

# One file of versions for every supported Python, without addresses: pip's own settings say where to look.
lock:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	echo "$(TORCH)" >$(BIN)/.torch && $(BIN)/uv pip compile --quiet --universal --python-version 3.10 \
	  --no-header --no-annotate --constraint $(BIN)/.torch \
	  --extra sim --extra train --extra label --extra s3 --extra cluster --extra minari --extra envpool --extra record --extra lerobot --extra ros --extra watch --extra dev \
	  pyproject.toml --output-file requirements.lock

# The labelling page's scripts are built ahead and committed.
FRONTEND := agents/preferences/labelling/frontend
frontend:
	@command -v npm >/dev/null || { echo "needed to build the page: Node 20 or newer, with npm"; exit 1; }
	cd $(FRONTEND) && npm ci --ignore-scripts --no-progress && npm run check && npm test && npm run build

clean:
	rm -rf $(VENV) $(HABITAT) $(COLCON) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
