"""A training step of the article's network by Keras 3 on TensorFlow. Knows nothing of Tenor.

    python -m venv peers && peers/bin/pip install tensorflow-cpu keras
    peers/bin/python benchmarks/peers/keras_step.py article.npz [--threads 2] [--steps 30]

`article.npz` holds tokens [rows, 200] int32, <pad> in front, and labels [rows]. The network: Embedding(10,000, 64),
Bidirectional(LSTM(64)), Dense(1, sigmoid); Adam, binary cross entropy, batches of 32.

Fair to it: the batches are tensors before the clock starts, and the fastest of several ways counts: the loop a while loop or
unrolled, compiled by XLA or not, float32 or Keras' mixed_bfloat16, called by model.fit, by model.train_on_batch or as a plain
tf.function (tape, loss, optimiser and no more). --ways names those to try. Prints one JSON object.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

VOCAB, EMBEDDING, HIDDEN, BATCH = 10_000, 64, 64, 32
WARM_UP = 5
Array = np.ndarray[Any, Any]
Step = Callable[[Any, Any], float]  # a batch -> its loss
WAYS: dict[str, dict[str, Any]] = {
    "function": {},
    "function, XLA": {"xla": True},
    "function, mixed_bfloat16": {"policy": "mixed_bfloat16"},
    "function, XLA, mixed_bfloat16": {"xla": True, "policy": "mixed_bfloat16"},
    "function, unrolled": {"unroll": True},
    "train_on_batch": {"call": "train_on_batch"},
    "train_on_batch, XLA": {"call": "train_on_batch", "xla": True},
    "fit, auto": {"call": "fit", "xla": "auto"},
    "fit": {"call": "fit"},
}


def network(length: int, unroll: bool) -> Any:
    return keras.Sequential(
        [
            keras.Input((length,), dtype="int32", batch_size=BATCH),
            keras.layers.Embedding(VOCAB, EMBEDDING),
            keras.layers.Bidirectional(keras.layers.LSTM(HIDDEN, unroll=unroll)),
            keras.layers.Dense(1, activation="sigmoid", dtype="float32"),
        ]
    )


def plain(model: Any, xla: bool) -> Step:
    """Keras' network, loss and optimiser under one tf.function."""
    loss_of, optimizer = keras.losses.BinaryCrossentropy(), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator, unused-ignore]
    def step(tokens: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(tokens, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return lambda tokens, labels: float(step(tokens, labels))


def measure(tokens: Array, labels: Array, steps: int, call: str = "function", xla: bool | str = False, policy: str = "float32", unroll: bool = False) -> dict[str, Any]:
    """Seconds of each step after the first WARM_UP, and the first losses."""
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    model = network(tokens.shape[1], unroll)
    number = WARM_UP + steps
    places = [np.arange(i * BATCH, (i + 1) * BATCH) % (len(tokens) // BATCH * BATCH) for i in range(number)]
    began = time.perf_counter()
    ends: list[float] = []
    losses: list[float] = []
    if call == "fit":
        model.compile(optimizer=keras.optimizers.Adam(), loss="binary_crossentropy", jit_compile=xla)

        class Clock(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                ends.append(time.perf_counter())
                losses.append(float(logs["loss"]) * (batch + 1) - sum(losses))  # Keras gives the mean so far

        order = np.concatenate(places)
        data = tf.data.Dataset.from_tensor_slices((tokens[order], labels[order])).batch(BATCH, drop_remainder=True).cache().prefetch(4)
        model.fit(data, epochs=1, verbose=0, shuffle=False, callbacks=[Clock()])
    else:
        if call == "function":
            step = plain(model, bool(xla))
        else:
            model.compile(optimizer=keras.optimizers.Adam(), loss="binary_crossentropy", jit_compile=xla)
            step = model.train_on_batch
        batches = [(tf.constant(tokens[p]), tf.constant(labels[p][:, None])) for p in places]
        for batch in batches:
            losses.append(float(step(*batch)))
            ends.append(time.perf_counter())
    seconds = np.diff([began, *ends])
    timed = seconds[WARM_UP:].tolist()
    return {
        "seconds_per_step": round(median(timed), 5),
        "best_step": round(min(timed), 5),
        "steps": len(timed),
        "first_step": round(float(seconds[0]), 2),
        "losses": [round(x, 6) for x in losses[:5]],
        "last_loss": round(losses[-1], 6),
    }


def used() -> tuple[float, float]:
    """Seconds of all cores used by everything since the machine's start, and by this process."""
    path = Path("/proc/stat")
    ticks = [int(t) for t in path.read_text().split("\n", 1)[0].split()[1:9]] if path.exists() else [0] * 8
    own = os.times()
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), own.user + own.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("article", type=Path, help=".npz: tokens, labels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each way")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=f"of: {'; '.join(WAYS)}")
    asked = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(asked.threads)
    tf.config.threading.set_inter_op_parallelism_threads(asked.threads)
    data = np.load(asked.article)
    tokens, labels = data["tokens"].astype(np.int32), data["labels"].astype(np.float32)
    began, before = time.perf_counter(), used()
    tried = {}
    for name in asked.ways:
        try:
            tried[name] = measure(tokens, labels, asked.steps, **WAYS[name])
        except (tf.errors.OpError, ValueError, NotImplementedError) as error:  # not every way works with every release
            tried[name] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    after, seconds = used(), time.perf_counter() - began
    best = min((k for k in tried if "failed" not in tried[k]), key=lambda k: float(tried[k]["seconds_per_step"]))
    answer = {
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "network": {"vocab": VOCAB, "embedding": EMBEDDING, "hidden": HIDDEN, "batch": BATCH, "length": tokens.shape[1]},
        "threads": asked.threads,
        "tokens_a_step": BATCH * tokens.shape[1],
        "best": best,
        **tried[best],
        "tokens_per_second": round(BATCH * tokens.shape[1] / tried[best]["seconds_per_step"]),
        "real_tokens_share": round(float((tokens > 0).mean()), 4),
        "cores_used_by_others": round(max(0.0, (after[0] - before[0]) - (after[1] - before[1])) / seconds, 2),
        "tried": tried,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
