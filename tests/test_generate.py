"""Models that generate: what they learn, that stopping costs nothing, that drawing is what it says, and what they refuse."""

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import StopAfter
from recurrent import forced
from tenor import Generator, TenorError, load, store
from tenor.cells.reader import lacks_8_bits
from tenor.config import ModelConfig, TextConfig
from tenor.data.pieces import BREAK, Pieces
from tenor.data.plain import read_plain_or_texts
from tenor.data.streams import IGNORED, RUN_IN, Streams, once
from tenor.data.text import UNK
from tenor.models.generate import Sampling, TextGenerator, draw
from tenor.pipelines.generation import Generation
from tenor.training.generate import fit
from tenor.training.presets_generate import generate_preset

LINE = "the cat sat on a mat, and the dog ran off.\n"
SMALL = {"cell": "gru", "layers": 2, "hidden": 24, "embedding": 12, "epochs": 12, "batch_size": 4, "max_tokens": 20, "learning_rate": 0.03, "precision": "float32"}


def preset(**changes):
    return generate_preset(**(SMALL | changes))


@pytest.fixture(scope="module")
def made() -> Generation:
    return fit([LINE * 60], [LINE * 4], preset(epochs=24))[0]  # after 12, how a machine rounds decides whether it has learnt each word of the line


def test_it_learns_a_text_that_repeats(made):
    assert made.measure([LINE * 5])["nats_per_character"] < 0.1 < 1 < made.measure([LINE[::-1] * 5])["nats_per_character"]
    assert "".join(made.stream("the dog", 40, Sampling(temperature=0))) == (LINE * 2)[33:73]
    assert "".join(made.stream("", 14)) == "".join(made.stream("\n", 14))  # no prompt: a line begins


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_stopped_and_gone_on_equals_undisturbed(cell, tmp_path):
    """Within an epoch too: the state that is carried from batch to batch is in the checkpoint."""

    small = preset(cell=cell, epochs=3, weight_dropout=0.2, embedding_dropout=0.1, tied=True)
    texts, aside = [LINE * 11, "a dog"], [LINE]  # 5 batches an epoch
    undisturbed = fit(texts, aside, small)[1]
    for steps in (1, 5, 8):
        torch.rand(3)
        stopped = fit(texts, aside, small, StopAfter(steps), tmp_path)[1]
        assert not stopped.finished
    resumed = fit(texts, aside, small, None, tmp_path)[1]
    assert resumed.finished and resumed.best_epoch == undisturbed.best_epoch
    assert all(torch.equal(resumed.weights[k], w) for k, w in undisturbed.weights.items())
    assert [e["validation_loss"] for e in resumed.history] == [e["validation_loss"] for e in undisturbed.history]
    assert undisturbed.best_epoch == 1 + int(np.argmin([e["validation_loss"] for e in undisturbed.history]))


@torch.no_grad()
def test_states_go_on_from_batch_to_batch():
    torch.manual_seed(0)
    ids = np.random.default_rng(0).integers(3, 9, 96)
    model = TextGenerator(9, ModelConfig(hidden=5, embedding=4, bidirectional=False, layers=2), streams=2).eval()
    streams = Streams.of(ids, 2, 16, 0)
    parts = [streams.segment(0, i) for i in range(streams.segments())]
    assert [p.fresh for p in parts] == [True, False, False]
    assert all(torch.equal(a.targets[-1], b.inputs[0]) for a, b in pairwise(parts))
    losses = [float(model.scores(*p).loss) for p in parts]
    whole = float(model.scores(torch.cat([p.inputs for p in parts]), torch.cat([p.targets for p in parts]), True).loss)
    assert np.mean(losses) == pytest.approx(whole, abs=1e-5)
    assert float(model.scores(*parts[0]).loss) == pytest.approx(losses[0], abs=1e-6)  # fresh: nothing of before is left


@settings(max_examples=30)
@given(length=st.integers(0, 5000), batch=st.integers(1, 9), steps=st.integers(1, 700))
def test_a_measure_counts_every_token_once(length, batch, steps):
    ids = np.arange(length) + 3
    seen = []
    for segment in once(ids, batch, steps):
        counts = segment.targets != IGNORED
        assert (segment.targets[counts] == segment.inputs[counts] + 1).all()
        seen += segment.targets[counts].tolist()
    assert sorted(seen) == (np.arange(1, max(1, length)) + 3).tolist()


def test_cutting_a_text_changes_no_measure(made):
    text = LINE * 40
    ids = made.pieces.joined([text])
    assert len(ids) > 4 * RUN_IN
    one, other = (made.measure([text]), Generation.rebuilt(made.stored({}, {}, []), precision="float32"))
    other.text = TextConfig(max_tokens=997)
    assert other.measure([text])["nats_per_character"] == pytest.approx(one["nats_per_character"], rel=1e-3)
    assert one["tokens"] == len(ids) - 1


def test_stepping_is_what_a_whole_run_gives(made):
    """The most probable token after each prefix, the network run anew on all of it."""
    prompt = "the mat ran"  # nowhere in the text
    said = "".join(made.stream(prompt, 25, Sampling(temperature=0)))
    text = prompt
    for _ in range(25):
        with torch.inference_mode():
            logits, _ = made.network(torch.from_numpy(made.pieces.encode(text).astype(np.int64))[:, None])
        text += made.pieces.names[int(logits[-1, 0].argmax())]
    assert prompt + said == text


def test_a_seed_repeats_a_text_and_one_token_is_greedy(made):
    wild = Sampling(temperature=2.0, seed=4)
    once_, again, other = ("".join(made.stream("the", 60, s)) for s in (wild, wild, Sampling(temperature=2.0, seed=5)))
    assert once_ == again != other
    greedy = "".join(made.stream("the", 60, Sampling(temperature=0)))
    for same in (Sampling(top_k=1, temperature=3.0), Sampling(top_p=1e-9, temperature=3.0)):
        assert "".join(made.stream("the", 60, same)) == greedy
    texts = made.several("the", 3, 30, wild)
    assert len({*texts}) == 3 and made.several("the", 3, 30, wild) == texts
    assert made.several("the", 1, 60, wild) == [once_]


def test_every_kernel_writes_the_same(made):
    """The engine draws by the same chances from the same logits; several rows and byte pairs' end are in the other tests."""
    for sampling in (Sampling(seed=2), Sampling(0.7, top_k=5, seed=3), Sampling(2.0, top_p=0.8, seed=4)):
        texts = []
        for path in ("reference", "native"):
            with forced(path):
                texts.append("".join(made.stream("the", 60, sampling)))
        assert texts[0] == texts[1] and len(texts[0]) == 60


def test_eight_bits_write_and_measure_nearly_the_same(made):
    if lacks_8_bits("gru"):
        with pytest.raises(TenorError, match="int8 cannot be had"):
            Generation.rebuilt(made.stored({}, {}, []), precision="int8")
        return
    eight, shrunk = Generation.rebuilt(made.stored({}, {}, []), precision="int8"), made.stored({"weights": "int8"}, {}, [])
    assert "8 bits" in eight.path and "8 bits" not in made.path
    assert Generation.rebuilt(shrunk, device="cpu").network.eight_bits and not Generation.rebuilt(shrunk, precision="float32").network.eight_bits
    texts = [LINE * 5]
    assert eight.measure(texts)["nats_per_character"] == pytest.approx(made.measure(texts)["nats_per_character"], abs=0.02)
    assert "".join(eight.stream("the dog", 40, Sampling(temperature=0))) == (LINE * 2)[33:73]
    with forced("torch"), pytest.raises(TenorError, match="TENOR_KERNEL=torch"):
        Generation.rebuilt(made.stored({}, {}, []), precision="int8")


def test_draws_are_of_the_distribution():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    chances = (np.arange(10_000) + 0.5) / 10_000

    def shares(**how):
        return np.bincount(draw(np.tile(logits, (10_000, 1)), Sampling(**how), chances), minlength=4) / 10_000

    np.testing.assert_allclose(shares(), [0.5, 0.3, 0.15, 0.05], atol=2e-4)
    np.testing.assert_allclose(shares(top_k=2), [0.625, 0.375, 0, 0], atol=2e-4)
    np.testing.assert_allclose(shares(top_p=0.79), [0.625, 0.375, 0, 0], atol=2e-4)
    np.testing.assert_allclose(shares(top_p=0.81), np.array([0.5, 0.3, 0.15, 0]) / 0.95, atol=2e-4)
    squared = np.array([0.5, 0.3, 0.15, 0.05]) ** 2
    np.testing.assert_allclose(shares(temperature=0.5), squared / squared.sum(), atol=2e-4)
    with pytest.raises(TenorError, match=r"temperature must be at least 0; got -1; top-p must be above 0"):
        Sampling(temperature=-1, top_p=0)


def test_a_model_of_one_text_ends_none(made):
    assert made.start == "line"
    wild = Sampling(temperature=50.0)  # as likely an end as any other token
    assert [len(text) for text in made.several("the", 4, 400, wild)] == [400] * 4 and len("".join(made.stream("the", 400, wild))) == 400


def test_it_stops_before_the_stop_text(made):
    said = list(made.stream("the cat", 300, Sampling(temperature=0), stop="mat, and"))
    assert "".join(said) == " sat on a "
    assert "".join(made.stream("the cat", 12, Sampling(temperature=0), stop="mat, XX")) == " sat on a ma"  # what was held back comes in the end
    assert made.several("the cat", 2, 300, Sampling(temperature=0), "mat, and") == [" sat on a "] * 2


def test_many_texts_begin_and_end():
    texts = [f"{c}{c.upper()}{c}" for c in "abcdefgh"] * 12
    made, _ = fit(texts, [], preset(epochs=60, layers=1))
    assert made.start == "break" and set(made.several("", 12, 9, Sampling(temperature=0.3))) <= set(texts)
    assert "".join(made.stream("cC", 50, Sampling(temperature=0))) == "c"  # and then its end


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_byte_pairs_and_characters_give_the_text_back(text):
    for pieces in (BYTE_PAIRS, Pieces.train([text + "x"], TextConfig(tokens="char", vocab=9999))):
        ids, writer = pieces.encode(text), pieces.writer()
        assert "".join(writer.write(i) for i in ids.tolist()) + writer.end() == text
        assert not set(ids.tolist()) & {0, UNK, BREAK}


BYTE_PAIRS = Pieces.train([LINE * 9], TextConfig(tokens="bpe", vocab=300))


def test_rare_characters_are_unknown_and_do_not_count():
    pieces = Pieces.train(["aaab"], TextConfig(tokens="char", vocab=4))
    assert pieces.encode("ab€").tolist() == [3, UNK, UNK] and pieces.unknown("a€b") == ["€", "b"]
    made = fit(["ab" * 80], [], preset(epochs=1))[0]
    found = made.measure(["abXab"])
    assert (found["tokens"], found["unknown"]) == (3, 1)


def test_python_saves_and_loads(tmp_path, made):
    model = Generator(**(SMALL | {"epochs": 3})).fit([LINE * 20, LINE * 20, LINE])
    model.save(tmp_path / "g")
    again = load(tmp_path / "g", precision="float32")
    assert again.generate("the", 40, seed=3) == model.generate("the", 40, seed=3) and isinstance(again, Generator)
    assert again.score([LINE]) == pytest.approx(model.score([LINE]), abs=1e-3) and len(again.history_) == 3
    for wrong, said in [(7, "X is a text or a list of texts; got 7"), (["a" * 200, None], "got None"), ("short", "at least 100 characters")]:
        with pytest.raises(TenorError, match=said):
            Generator(**SMALL).fit(wrong)
    for wrong, said in [({"tokens": "word"}, "--tokens char or --tokens bpe"), ({"validation": 30}, "a share below 1"), ({"bidirectional": True}, "reads one way")]:
        with pytest.raises(TenorError, match=said):
            fit([LINE * 9], [], preset(**wrong)) if "validation" not in wrong else Generator(**(SMALL | wrong)).fit(LINE * 9)
    with pytest.raises(TenorError, match=r"no beginning\. Give a prompt"):
        next(fit(["abc" * 50], [], preset(epochs=1))[0].stream(""))
    assert next(islice(made.stream("the "), 1))


def test_commands(tmp_path, tenor, model):
    (tmp_path / "cats.txt").write_text(LINE * 30)
    options = ["--task", "generate", "--hidden", 16, "--epochs", 2, "--batch-size", 2, "--max-tokens", 16, "--layers", 1, "--cell", "gru"]
    done = tenor("train", "cats.txt", *options, "--out", "g")
    assert done.code == 0 and "nats a character" in done.out and "loss train" in done.err, done.err
    assert {"curves.png", "README.md"} <= {p.name for p in (tmp_path / "g").iterdir()} and store.read(tmp_path / "g").config["task"] == "generate"
    said = tenor("generate", "the", "-m", "g", "--length", 20, "--seed", 1).out
    assert said.startswith("the") and said == "the" + tenor("generate", "the", "-m", "g", "--length", 20, "--seed", 1, "--json").json["texts"][0] + "\n"
    (answer,) = tenor("predict", "the", "-m", "g", "--json").json
    assert answer["text"] == "the" and 0 < len(answer["generated"]) <= 200
    assert tenor("evaluate", "cats.txt", "-m", "g", "--json").json["tokens"] == len(LINE) * 30 - 1
    for command, words in [
        (("generate", "the", "-m", model), "This model labels texts. Use tenor predict"),
        (("generate", "th€", "-m", "g"), "'€' never did"),
        (("train", "cats.txt", "--task", "generate", "--stars", "5", "--out", "h"), "--task generate has no --stars. Leave it out."),
    ]:
        failed = tenor(*command)
        assert failed.code == 2 and words in failed.err and not failed.out, failed.err


def test_a_text_of_part_test_is_not_learnt_even_if_it_stands_among_the_others(tmp_path):
    path = tmp_path / "parts.jsonl"
    path.write_text('{"text":"same text","split":"train"}\n{"text":"other","split":"train"}\n{"text":"Same text","split":"Test"}\n{"text":"old","split":"test2016"}\n')
    found = read_plain_or_texts(path, None, False)
    assert found.texts == ["other"] and found.test == ["Same text", "old"] and any("part test too" in note for note in found.notes)


def test_what_is_no_character_and_what_is_cut(tmp_path):
    pairs = Pieces.train(["ab \ud800 cd " * 30], TextConfig(tokens="bpe", vocab=300))
    writer = pairs.writer()
    assert "".join(writer.write(int(i)) for i in pairs.encode("ab \ud800 \U0001f600")) == "ab � \U0001f600"
    path = tmp_path / "cut.txt"
    path.write_bytes("ab".encode("utf-16")[:-1])
    with pytest.raises(TenorError, match="begins as UTF-16"):
        read_plain_or_texts(path)
