"""The engine's memory: what is used again, what goes back to the system, and when."""

import resource
from pathlib import Path

import pytest

from tenor.cells import native

pytestmark = [
    pytest.mark.skipif(not native.available(), reason=native.why_not()),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc"),
]
MB = 1 << 20
LARGE = 600  # MB: above the 512 that are kept in any case


@pytest.fixture(autouse=True)
def empty_pool():
    native.engine().trim(0)
    yield
    native.engine().trim(0)


def use(size, count=1):
    """Take so many blocks at once and give them back."""
    blocks = [native.engine().block(size * MB) for _ in range(count)]
    del blocks


def status(name):
    """A size that Linux tells of this process, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def faults(size):
    """Page faults in writing all of a block."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    native.engine().block(size * MB).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_large_block_is_used_again_and_given_back_when_it_is_not():
    assert faults(LARGE) > 250  # pages of 2 MB, or many more of 4 KB
    assert faults(LARGE) < 50
    kept = status("VmRSS")
    native.engine().trim(60)
    assert status("VmRSS") > kept - 100
    native.engine().trim(0)
    assert status("VmRSS") < kept - 500


def test_blocks_of_many_sizes_are_kept():
    before = status("VmSize")
    for size in (LARGE, 280, 130, 60):  # none fits the next size
        use(size)
    assert status("VmSize") - before > 1060


def test_free_and_in_use_the_blocks_are_at_most_twice_what_was_in_use_at_once():
    before = status("VmSize")
    for size, count in ((40, 16), (85, 7), (180, 3)):  # 640, 595 and 540 MB at once
        use(size, count)
    assert status("VmSize") - before < 2 * 640 + 50
