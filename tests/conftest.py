"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

# Tests run in several processes: one thread each, for the numeric libraries and for everything that tests start.
# Two processes with two spinning threads each, on two cores, are several times slower than with one.
os.environ["OMP_NUM_THREADS"] = "1"
# No test fetches a model by accident; those that are about fetching have a server of their own.
os.environ["EYAS_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of committed reference numbers."""
    return ROOT / "tests" / "reference"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the project; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real images are not at {folder}")
    return folder
