"""What all tests need."""

import signal

import pytest
from hypothesis import settings

from tests import shape_checks

shape_checks.install()

# By default Hypothesis fails an example that takes over 200 ms: a matter of the machine, and of what else runs on it.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A shell has the jobs that it runs in the background ignore Ctrl-C, and so would every program that a test starts and
# interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _shapes_are_checked_again() -> None:
    """The first calls of each function in each test are checked."""
    shape_checks.begin_test()
