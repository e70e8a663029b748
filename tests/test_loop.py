"""Training: the same seed, the same model; stopping anywhere and going on, the same model, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import StopAfter, fit, order_texts, small
from tenor.config import TrainConfig
from tenor.errors import TenorError
from tenor.training.events import Events
from tenor.training.loop import is_better, rate_at


def train(work: Path | None = None, events: Events | None = None, **changes):
    texts, targets = order_texts(150, 7)
    settings = small(**({"epochs": 3, "word_dropout": 0.1, "embedding_dropout": 0.2, "dropout": 0.2, "max_tokens": 12} | changes))
    return fit(["neg", "pos"], texts[:120], targets[:120], texts[120:], targets[120:], settings, events, work)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def without_times(history: list[dict]) -> list[dict]:
    return [{k: v for k, v in e.items() if k not in ("seconds", "tokens_per_second")} for e in history]


def test_same_seed_same_model_and_the_callers_random_state_is_left_alone():
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    first, second, other = train()[1], train()[1], train(seed=1)[1]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(first.weights, second.weights)
    assert without_times(first.history) == without_times(second.history)
    assert not same(first.weights, other.weights)


@pytest.mark.parametrize("steps", [1, 8, 11, 23])
def test_stopped_and_gone_on_equals_undisturbed(tmp_path, steps):
    """8 steps an epoch: stopped at the first step, at the end of an epoch, in the middle, at the last step but one."""
    undisturbed = train()[1]
    stopped = train(tmp_path, StopAfter(steps))[1]
    assert not stopped.finished
    assert stopped.best_epoch == (0 if steps < 8 else stopped.best_epoch)
    torch.rand(10)  # another process would have another random state
    resumed = train(tmp_path)[1]
    assert resumed.finished
    assert same(resumed.weights, undisturbed.weights)
    assert without_times(resumed.history) == without_times(undisturbed.history)


def test_going_on_with_other_settings_or_data_is_refused(tmp_path):
    train(tmp_path, StopAfter(5))
    with pytest.raises(TenorError, match=r"hidden 16 -> 20"):
        train(tmp_path, hidden=20)
    with pytest.raises(TenorError, match="data"):
        train(tmp_path, max_tokens=5)


def test_a_broken_checkpoint_says_what_to_do(tmp_path):
    train(tmp_path, StopAfter(5))
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TenorError, match="--overwrite"):
        train(tmp_path)


def test_not_a_number_stops_with_advice():
    with pytest.raises(TenorError, match=r"finite loss.*--learning-rate"):
        train(learning_rate=1e39, clip=0.0, schedule="constant")


def test_the_best_epoch_is_kept_not_the_last():
    texts, targets = order_texts(400, 8)
    wrong = 1 - targets[300:]  # the better the network learns, the worse it does on these
    settings = small(epochs=8, learning_rate=0.01, hidden=24, embedding_dropout=0.0, dropout=0.0)
    pipeline, outcome = fit(["a", "b"], texts[:300], targets[:300], texts[300:], wrong, settings)
    accuracies = [e["validation_accuracy"] for e in outcome.history]
    best = outcome.history[outcome.best_epoch - 1]
    assert best["validation_accuracy"] == max(accuracies)
    assert best["validation_accuracy"] > 0.4 > accuracies[-1]
    got = (pipeline.probabilities(texts[300:])[0].argmax(1) == wrong).mean()
    assert got == pytest.approx(best["validation_accuracy"])


def test_is_better():
    def entry(accuracy, loss):
        return {"validation_accuracy": accuracy, "validation_loss": loss}

    assert is_better(entry(0.8, 1.0), [entry(0.7, 0.5)], 1)
    assert not is_better(entry(0.8, 1.0), [entry(0.8, 0.5)], 1)
    assert is_better(entry(0.8, 0.4), [entry(0.8, 0.5)], 1)
    assert is_better({}, [{}], 1)  # no validation rows: the later one


def test_one_cycle_is_torchs_up_to_the_ends():
    """Against torch.optim.lr_scheduler.OneCycleLR, which counts the peak a step earlier: within a step everywhere."""
    config, steps = TrainConfig(learning_rate=0.3, schedule="one_cycle"), 400
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.3, steps, pct_start=0.25, cycle_momentum=False, final_div_factor=4e3)
    for step in range(steps):
        assert rate_at(step, steps, config) == pytest.approx(theirs.get_last_lr()[0], abs=0.3 * np.pi / 2 / 100 * 1.1)
        optimiser.step()
        if step < steps - 1:
            theirs.step()
    assert max(rate_at(s, steps, config) for s in range(steps)) == pytest.approx(0.3)


KILLABLE = "import tenor.training.loop as l; l.SECONDS_BETWEEN_CHECKPOINTS = 0; from tenor.cli import main; main()"


def start(reviews: Path, out: Path, *more: str) -> subprocess.Popen:
    options = ["--hidden", "8", "--embedding", "8", "--epochs", "8", "--no-baseline", "--json", *more]
    return subprocess.Popen([sys.executable, "-c", KILLABLE, "train", str(reviews), "--out", str(out), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> dict:
    text, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(text)


def wait_for_steps(work: Path, process: subprocess.Popen, seconds: float = 0.1) -> None:
    """Until this process has written a checkpoint, and a little longer."""
    checkpoint, until = work / "checkpoint.safetensors", time.monotonic() + 120
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(seconds)


def test_kill_9_and_resume_gives_the_same_bytes(reviews, tmp_path):
    finish(start(reviews, tmp_path / "whole"))
    out = tmp_path / "killed"
    for moment in range(3):  # killed three times: soon after the start, then each time somewhere further on
        process = start(reviews, out, *(["--resume"] if moment else []))
        wait_for_steps(tmp_path / "killed.training", process, seconds=0.05 + 0.1 * moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    assert finish(start(reviews, out, "--resume"))["finished"]
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["killed", "whole"]  # nothing is left behind
    assert {"config.json", "curves.png", "curves.svg", "history.jsonl", "metrics.json", "report.html", "README.md"} <= set(os.listdir(out))


def test_ctrl_c_leaves_a_usable_model_that_resume_completes(reviews, tmp_path, tenor):
    finish(start(reviews, tmp_path / "whole", "--epochs", "12"))
    process = start(reviews, tmp_path / "model", "--epochs", "12")
    wait_for_steps(tmp_path / "model.training", process)
    process.send_signal(signal.SIGINT)
    text, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert json.loads(text)["finished"] is False
    assert "Traceback" not in errors
    assert tenor("predict", "early the late", "-m", tmp_path / "model", "--json").json[0]["label"] in ("negative", "positive")
    assert "holds a model of another run" in tenor("train", reviews, "--out", tmp_path / "whole", "--resume").err
    finish(start(reviews, tmp_path / "model", "--epochs", "12", "--resume"))
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_resume_of_an_overwriting_run_goes_on_with_the_new_run(reviews, tmp_path):
    out = tmp_path / "model"
    finish(start(reviews, out))
    old = (out / "model.safetensors").read_bytes()
    process = start(reviews, out, "--overwrite", "--seed", "5")
    wait_for_steps(tmp_path / "model.training", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (out / "model.safetensors").read_bytes() == old
    finish(start(reviews, out, "--seed", "5", "--resume"))
    assert (out / "model.safetensors").read_bytes() != old
    assert finish(start(reviews, out, "--seed", "5", "--resume"))["finished"]  # finished already: nothing to do
