"""Models that tag: what they learn, that stopping costs nothing, and what they refuse."""

import random

import numpy as np
import pytest
import torch

from tenor.config import TagConfig
from tenor.data.lexicon import Lexicon, batch_of
from tenor.data.tagged import Sentence
from tenor.errors import TenorError
from tenor.models.tag import Tagger
from tenor.tagging import Tagging
from tenor.training.events import Events
from tenor.training.presets_tag import tag_preset
from tenor.training.tag import fit

SMALL = {"hidden": 16, "embedding": 12, "epochs": 5, "batch_size": 8, "learning_rate": 0.03, "precision": "float32", "cell": "gru"}


def preset(**changes):
    return tag_preset(**(SMALL | changes))


def sentences(count: int, seed: int) -> list[Sentence]:
    """A name is a capital word that ends in -son; a span goes on over `van`. What `left` is tells the word two places later."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        words, tags = [], []
        for _ in range(rng.randint(1, 4)):
            name = [rng.choice("ABCDEFG") + "".join(rng.choices("aeiklmn", k=3)) + "son" for _ in range(rng.randint(1, 2))]
            name = [name[0], "van", *name[1:]] if len(name) > 1 else name
            words += [*name, rng.choice(["sat", "ran", "saw"])]
            tags += ["B-PER", *["I-PER"] * (len(name) - 1), "O"]
        last = rng.choice(["up", "down"])
        words += ["left", "it", last]
        tags += ["B-GO" if last == "up" else "B-STAY", "O", "O"]
        found.append(Sentence(words, tags))
    return found


@pytest.fixture(scope="module")
def made() -> Tagging:
    return fit(sentences(200, 0), sentences(40, 1), preset())[0]


def test_it_learns_spelling_context_on_both_sides_and_spans(made):
    others = sentences(60, 2)
    found = made.measure(others)
    assert found["spans"]["f1"] > 0.97 and found["accuracy"] > 0.97 and set(found["spans"]["kinds"]) == {"PER", "GO", "STAY"}
    assert made.tags([Sentence(["Zzzzson", "ran", "left", "it", "up"]), Sentence([]), Sentence(["left", "it", "down"])]) == [["B-PER", "O", "B-GO", "O", "O"], [], ["B-STAY", "O", "O"]]


def test_a_sentence_is_tagged_the_same_alone_and_among_others(made):
    others = sentences(30, 3)
    assert made.tags(others) == [made.tags([s])[0] for s in others]


@pytest.mark.parametrize(("cell", "spelling"), [("lstm", "convolution"), ("rnn", "recurrent")])
def test_stopped_and_gone_on_equals_undisturbed(cell, spelling, tmp_path):
    class StopAfter(Events):
        def __init__(self, steps):
            self.left = steps

        def step(self, _):
            self.left -= 1

        def stop(self):
            return self.left <= 0

    small = preset(cell=cell, spelling=spelling, epochs=3, dropout=0.3, embedding_dropout=0.2)
    rows, aside = sentences(40, 4), sentences(10, 5)  # 5 batches an epoch
    undisturbed = fit(rows, aside, small)[1]
    for steps in (1, 5, 8):
        torch.rand(3)
        assert not fit(rows, aside, small, StopAfter(steps), tmp_path)[1].finished
    resumed = fit(rows, aside, small, None, tmp_path)[1]
    assert resumed.finished and [e["validation_loss"] for e in resumed.history] == [e["validation_loss"] for e in undisturbed.history]
    assert all(torch.equal(resumed.weights[k], w) for k, w in undisturbed.weights.items())
    with pytest.raises(TenorError, match="--resume goes on with the settings and data it began with; changed: data"):
        fit([*rows[:-1], rows[-1]._replace(tags=["O"] * len(rows[-1].tags))], aside, small, StopAfter(9), tmp_path)


def test_what_stands_beside_the_words_is_read():
    """The tag is the value beside the word; without it the word alone tells nothing."""
    rng = random.Random(0)
    rows = []
    for _ in range(120):
        beside = rng.choices(["X", "Y"], k=5)
        rows.append(Sentence(["w"] * 5, [f"t{b}" for b in beside], (beside,)))
    other, _ = fit(rows, rows[:10], preset(epochs=3, beside="kind"))
    assert other.beside == ["kind"] and other.measure(rows)["accuracy"] == 1
    assert other.measure([r._replace(beside=()) for r in rows])["accuracy"] < 0.9


def test_words_seen_once_teach_what_an_unknown_one_is():
    rows = [Sentence(["der", f"{i}"], ["D", "N"]) for i in range(30)]
    lexicon = Lexicon.of(rows, ["D", "N"], (), 100)
    assert lexicon.words == ["<pad>", "<unk>", "der", "00", "0"] and lexicon.once == len(lexicon.words)  # digits are 0
    words = Lexicon.of([Sentence(["a", "a", "b"], ["D", "D", "N"])], ["D", "N"], (), 100)
    assert words.words[words.once :] == ["b"]
    torch.manual_seed(0)
    network = Tagger(words, TagConfig(spelling="none", once_dropout=0.9, hidden=4, embedding=4))
    network.embedding.weight.data[1] = 7.0
    batch = batch_of(words.encode([Sentence(["a", "b"] * 50, ["D", "N"] * 50)]), np.array([0]))
    seen = []
    network.recurrent.register_forward_pre_hook(lambda _, given: seen.append(given[0].data))
    network(batch)
    network.eval()(batch)
    unknown = [(x == 7).all(1) for x in seen]
    assert not unknown[0][::2].any() and 35 < int(unknown[0][1::2].sum()) < 50 and not unknown[1].any()


def test_tags_that_never_occurred_are_named_and_count_as_wrong(made):
    found = made.measure([Sentence(["left", "it", "up"], ["B-GO", "B-NEW", "B-NEW"])])
    assert found["right"] == 1 and found["notes"] == ["Tags that never occurred in training, so that these words are counted as wrong: B-NEW (2 words)."]
    with pytest.raises(TenorError, match="at least one sentence"):
        made.measure([Sentence([])])
    with pytest.raises(TenorError, match="two different tags"):
        fit([Sentence(["a"], ["X"])], [], preset())


def test_it_is_rebuilt_as_it_was(made):
    again = Tagging.rebuilt(made.stored({}, {}, []), precision="float32")
    others = sentences(20, 6)
    assert again.tags(others) == made.tags(others) and again.lexicon == made.lexicon
    stored = made.stored({}, {}, [])
    for config, tokenizer, said in [({"task": "classify"}, None, "This model labels texts"), ({"task": "tag", "model": {"hidden": 17}}, None, "do not fit"), ({}, "[]", "no lexicon"), ({}, '{"words":1}', "no lexicon")]:
        broken = type(stored)(stored.config | config, tokenizer or stored.tokenizer, stored.weights, {}, [])
        with pytest.raises(TenorError, match=said):
            Tagging.rebuilt(broken)
