"""Other builds of the engine: under sanitizers its tests pass; with a mistake in it they fail."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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


def test_no_access_outside_a_buffer_and_no_undefined_behaviour(tmp_path):
    engine = build(ROOT, tmp_path, "-DTENOR_SANITIZE=ON")
    libraries = [subprocess.run(["g++", f"-print-file-name={n}"], capture_output=True, text=True, check=True).stdout.strip() for n in ("libasan.so", "libubsan.so", "libstdc++.so")]
    # Python and torch keep memory until they end, which is no leak of the engine's; and the sanitizer keeps what is freed.
    options = {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}
    with ThreadPoolExecutor(2) as two:
        for done in two.map(lambda names: run_tests(engine, names, "-k", "not creep", **options), ("native", "passes reader")):
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


# What it is; the file, what stands there and what instead; the tests that must see it.
MISTAKES = {
    "two gates of the LSTM swapped": ("cells.h", "g = tanh(sums[2]), o = sigmoid(sums[3])", "g = tanh(sums[3]), o = sigmoid(sums[2])", "native"),
    "two gates of the GRU's gradient swapped": ("cells.h", "d[1] = d_hidden[1] = dh * (h_before - n)", "d[1] = d_hidden[1] = dh * (n - h_before)", "native"),
    "the second direction runs forwards": ("forward.h", "n, mask);\n\n        const auto step_of = [&](int64_t s) { return d ? p.steps - 1 - s : s; };", "n, mask);\n\n        const auto step_of = [&](int64_t s) { return s; };", "native"),
    "a reader's second direction reads forwards": ("reading.h", "cut(0);\n\n        const auto step_of = [&](int64_t s) { return d ? p.steps - 1 - s : s; };", "cut(0);\n\n        const auto step_of = [&](int64_t s) { return s; };", "reader"),
    "a panel reads the states that another of its step has written": ("reading.h", "*then = operands + (s + 1) % 2 * n * hp;", "*then = operands + s % 2 * n * hp;", "reader"),
    "lengths dropped": ("forward.h", "for (int64_t r = ready; r < live; r++)  // those that begin here", "for (int64_t r = ready; r < (i ? 0 : live); r++)", "native"),
    "the first state has no gradient": ("backward.h", "write_state<acc>(l, dh, d * p.batch + from, n, p.d_h0);", "write_state<acc>(l, dc, d * p.batch + from, n, p.d_h0);", "native"),
    "the mean over one step too many": ("reading.h", "state[TOTAL * W] / acc(t)", "state[TOTAL * W] / acc(t + 1)", "reader"),
    "the greatest value's gradient at every step": ("rows.cpp", "(a[i] == int32_t(t) ? m[i] : 0.0f)", "m[i]", "passes"),
}


def test_mistakes_are_found(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "build"
    shutil.copytree(ROOT / "csrc", source / "csrc")
    shutil.copy(ROOT / "CMakeLists.txt", source)
    fast = ["-DTENOR_PORTABLE=ON", "-DCMAKE_CXX_FLAGS_RELEASE=-O0"]
    chosen = ("-k", "specification or finite or sequence_at_a_time")
    with ThreadPoolExecutor(1) as beside:  # one is tested while the next is compiled
        running = {"none": beside.submit(run_tests, shutil.copy(build(source, folder, *fast), tmp_path / "none.so"), "native reader passes", *chosen)}
        for number, (mistake, (name, before, after, seen_by)) in enumerate(MISTAKES.items()):
            file = source / "csrc" / name
            text = file.read_text()
            assert text.count(before) == 1, mistake
            file.write_text(text.replace(before, after))
            running[mistake] = beside.submit(run_tests, shutil.copy(build(source, folder), tmp_path / f"{number}.so"), seen_by, *chosen)
            file.write_text(text)
    for mistake, done in running.items():
        assert done.result().returncode == (mistake != "none"), f"{mistake}: {done.result().stdout[-2000:]}"
