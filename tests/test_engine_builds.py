"""Other builds of the engine: under sanitizers its tests pass; with a mistake in it they fail."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recurrent import ISAS
from tenor.cells import native

ROOT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.skipif(not native.available(), reason=native.why_not()),
    pytest.mark.skipif(shutil.which("g++") is None, reason="building the engine needs g++"),
    pytest.mark.skipif("TENOR_TEST_ENGINE" in os.environ, reason="this is such a build"),
]


def build(source: Path, folder: Path, *options: str) -> Path:
    """Configure (the first time) and compile; -> the extension."""
    tools = Path(sys.executable).parent
    nanobind = subprocess.run([sys.executable, "-m", "nanobind", "--cmake_dir"], capture_output=True, text=True, check=True).stdout.strip()
    path = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}  # cmake and ninja of the development install
    configure = ["cmake", "-G", "Ninja", "-S", source, "-B", folder, f"-DPython_EXECUTABLE={sys.executable}", f"-Dnanobind_DIR={nanobind}", *options]
    for command in ([] if (folder / "build.ninja").exists() else [configure]) + [["cmake", "--build", folder]]:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=os.environ | path, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return next(folder.glob("_engine*.so"))


def run_tests(engine: Path, names: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tests/test_NAME.py of each name on that build."""
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in names.split()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files, *options]
    environment = os.environ | {"TENOR_TEST_ENGINE": str(engine)} | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=900, check=False)


# All mistakes are compiled at once; WRONG is true of the one whose number the environment's TENOR_MISTAKE names.
# What it is; the file, what stands there and what instead; the tests that must see it.
MISTAKES = {
    "two gates of the LSTM swapped": ("cells.h", "g = Gates::tanh(sums[2]), o = Gates::sigmoid(sums[3])", "g = Gates::tanh(sums[WRONG ? 3 : 2]), o = Gates::sigmoid(sums[WRONG ? 2 : 3])", "native"),
    "two gates of the GRU's gradient swapped": ("cells.h", "dh * (h_before - n)", "dh * (WRONG ? n - h_before : h_before - n)", "native"),
    "the second direction runs forwards": ("forward.h", "return d ? p.steps - 1 - s : s;", "return d && !WRONG ? p.steps - 1 - s : s;", "native"),
    "a reader's second direction reads forwards": ("reading.h", "return d ? p.steps - 1 - s : s;", "return d && !WRONG ? p.steps - 1 - s : s;", "reader"),
    "a panel reads the states that another of its step has written": ("reading.h", "*then = operands + (s + 1) % 2 * n * hp;", "*then = operands + (s + !WRONG) % 2 * n * hp;", "reader"),
    "lengths dropped": ("forward.h", "for (int64_t r = ready; r < live; r++)  // those that begin here", "for (int64_t r = ready; r < (WRONG && i ? 0 : live); r++)", "native"),
    "the first state has no gradient": ("backward.h", "write_state(l, dh, d * p.batch", "write_state(l, C::HAS_CELL && WRONG ? dc : dh, d * p.batch", "native"),
    "the mean over one step too many": ("reading.h", "state[TOTAL * W] / acc(t)", "state[TOTAL * W] / acc(t + WRONG)", "reader"),
    "the greatest value's gradient at every step": ("rows.cpp", "(a[i] == int32_t(t) ? m[i] : 0.0f)", "(WRONG || a[i] == int32_t(t) ? m[i] : 0.0f)", "passes"),
    "a writer's first layer forgets its state every other step": ("writer.cpp", "if (!back) multiply(0, true, part, false);", "if (!back && !WRONG) multiply(0, true, part, false);", "writer"),
    "one word too few of the most probable": ("drawing.cpp", "least = sorted[how.top_k - 1];", "least = sorted[how.top_k - 1 - (WRONG && how.top_k > 1)] + WRONG;", "writer"),
}
# The same where AMX runs.
AMX_MISTAKES = {
    "the lower tile multiplies the upper one's rows": ("amx.h", "_tile_loadd(5, second, stride);", "_tile_loadd(5, FIRST && WRONG ? a : second, stride);", "native"),
    "a tile without its last row": ("amx.h", "height[1] = low;", "height[1] = low - (WRONG && low > 1);", "native"),
    "the GRU's n has the input's product for the state's": ("forward.h", "multiply_tiles<Op>(terms + 1, 1, vectors", "multiply_tiles<Op>(terms + !WRONG, 1, vectors", "native"),
}
# Those of 8 bits, where there are 8-bit products.
EIGHT_BIT_MISTAKES = {
    "what keeps a state is taken roughly in 8 bits": ("activations.h", "kept(Vec<float> x) { return TENOR_ISA::sigmoid(x); }", "kept(Vec<float> x) { return WRONG ? sigmoid(x) : TENOR_ISA::sigmoid(x); }", "reader_8_bits"),
    "two great weights side by side leave no room": ("packing.h", "if (two > greatest) greatest = two;", "if (two > greatest && !WRONG) greatest = two;", "reader_8_bits writer"),
}
# Reads past a buffer, which leave the results as they are or not; and the one test that must meet AddressSanitizer. The last where AMX runs.
OVERRUNS = {
    "a state's row read to the end of its vector": ("states.h", "int(least(W, l.hidden - j))", "int(WRONG ? W : least(W, l.hidden - j))", "exact and portable and 1-17"),
    "one tile too many along a row": ("amx.h", "k < term->whole;", "k < term->whole + WRONG;", "exact and amx and 33-64"),
}


def with_mistakes(folder: Path) -> tuple[Path, str]:
    """-> a copy of the source with every mistake in it, each switched off, and the option of its build."""
    source = folder / "source"
    shutil.copytree(ROOT / "csrc", source / "csrc")
    shutil.copy(ROOT / "CMakeLists.txt", source)
    for number, (mistake, (name, before, after, _)) in enumerate((MISTAKES | AMX_MISTAKES | EIGHT_BIT_MISTAKES | OVERRUNS).items(), start=1):
        file = source / "csrc" / name
        text = file.read_text()
        assert text.count(before) == 1, mistake
        file.write_text(text.replace(before, after.replace("WRONG", f"(MADE == {number})")))
    switch = source / "switch.h"
    switch.write_text('#pragma once\n#include <cstdlib>\nstatic const int MADE = std::atoi(std::getenv("TENOR_MISTAKE"));\n')
    return source, f"-DCMAKE_CXX_FLAGS=-include {switch}"


def number_of(mistake: str) -> str:
    return str(1 + [*MISTAKES, *AMX_MISTAKES, *EIGHT_BIT_MISTAKES, *OVERRUNS].index(mistake))


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A build under sanitizers for what this CPU can run, the rest takes minutes to compile; and the environment of its tests."""
    folder = tmp_path_factory.mktemp("sanitized")
    source, switch = with_mistakes(folder)
    engine = build(source, folder / "build", "-DTENOR_SANITIZE=ON", f"-DTENOR_ONLY={'|'.join(native.isas())}", switch)
    libraries = [subprocess.run(["g++", f"-print-file-name={n}"], capture_output=True, text=True, check=True).stdout.strip() for n in ("libasan.so", "libubsan.so", "libstdc++.so")]
    # Python and torch keep memory until they end, which is no leak of the engine's; and the sanitizer keeps what is freed.
    return engine, {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}


def test_no_access_outside_a_buffer_and_no_undefined_behaviour(sanitized):
    engine, options = sanitized
    found = list(OVERRUNS)[: 2 if "amx" in ISAS else 1]
    runs = [("native", "-k", "not creep"), ("passes reader reader_8_bits writer",), *(("native", "-s", "-k", OVERRUNS[mistake][3]) for mistake in found)]  # -s: pytest would keep the report
    numbers = ["0", "0", *map(number_of, found)]
    with ThreadPoolExecutor(2) as two:
        done = list(two.map(lambda run, number: run_tests(engine, *run, **options, TENOR_MISTAKE=number), runs, numbers))
    for clean in done[:2]:
        assert clean.returncode == 0, clean.stdout[-3000:] + clean.stderr[-3000:]
    for mistake, seen in zip(found, done[2:], strict=True):
        assert "AddressSanitizer" in seen.stderr and "READ of size" in seen.stderr, f"{mistake}: {seen.stdout[-2000:]}{seen.stderr[-2000:]}"


def test_mistakes_are_found(tmp_path):
    source, switch = with_mistakes(tmp_path)
    engine = build(source, tmp_path / "build", f"-DTENOR_ONLY={'amx' if 'amx' in ISAS else 'portable'}", "-DCMAKE_CXX_FLAGS_RELEASE=-O1", switch)
    chosen = "specification or finite or sequence_at_a_time or exact or more_rows or stepper_does or draw_does"
    wrong = MISTAKES | (AMX_MISTAKES if "amx" in ISAS else {})
    runs = [("none", "native reader passes writer", "0"), *((mistake, seen_by, number_of(mistake)) for mistake, (*_, seen_by) in wrong.items())]
    with ThreadPoolExecutor(2) as two:
        done = list(two.map(lambda run: run_tests(engine, run[1], "-k", chosen, TENOR_MISTAKE=run[2]), runs))
    for (mistake, *_), result in zip(runs, done, strict=True):
        assert result.returncode == (mistake != "none"), f"{mistake}: {result.stdout[-2000:]}"


@pytest.mark.skipif(not any(native.traits(isa).int8 for isa in ISAS), reason="8-bit products need AVX2, which this CPU has not")
def test_mistakes_in_8_bits_are_found(sanitized):
    engine, options = sanitized
    with ThreadPoolExecutor(2) as two:
        done = list(two.map(lambda mistake: run_tests(engine, EIGHT_BIT_MISTAKES[mistake][3], "-k", "kept_over or overflow", **options, TENOR_MISTAKE=number_of(mistake)), EIGHT_BIT_MISTAKES))
    for mistake, result in zip(EIGHT_BIT_MISTAKES, done, strict=True):
        assert result.returncode == 1 and "AssertionError" in result.stdout, f"{mistake}: {result.stdout[-2000:]}"
