"""Set-up that must come before a framework is imported."""

import gc
import os
from collections.abc import Iterator

import pytest

os.environ["KERAS_BACKEND"] = "torch"  # once per process; other backends run in subprocesses
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["PLAINNET_CACHE_DIR"] = ""  # no result of an earlier run is believed
gc.disable()  # while modules are imported, which live to the end
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_finish() -> None:
    """Modules live to the end: without them, collecting garbage takes an eighth of the time."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def what_outlives_a_module_is_kept() -> Iterator[None]:
    """Syntax trees and ledgers in caches: `verify` looks for garbage, and would go through them."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def processes_of_verify_have_their_imports():
    """They are forks, but for those of a `verify` that itself is run in a process of its own."""
    from compiler.verify import isolated
    from tests.forks import forks

    def started(words: list[str]):
        environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        server = forks(("torch", "keras"), environment)
        return server.popen(isolated._START, words, isolated._stderr() or 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolated, "_started", started)
        yield
