"""Set-up that must come before a framework is imported."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # once per process; other backends run in subprocesses
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["PLAINNET_CACHE_DIR"] = ""  # no result of an earlier run is believed
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ["OMP_NUM_THREADS"] = "1"
