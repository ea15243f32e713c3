"""Fixtures shared by the tests of Paddle's files."""

from pathlib import Path

import pytest
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def formats() -> Path:
    """The folder of files that Paddle itself wrote; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "reference" / "formats"
    if not folder.is_dir():
        pytest.skip(f"files that Paddle wrote are not at {folder}")
    return folder
