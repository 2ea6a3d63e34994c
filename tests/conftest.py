"""Set-up that must come before a framework is imported."""

import gc
import os

os.environ["KERAS_BACKEND"] = "torch"  # once per process; other backends run in subprocesses
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["PLAINNET_CACHE_DIR"] = ""  # no result of an earlier run is believed
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_finish() -> None:
    """Modules live to the end: without them, collecting garbage takes an eighth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
