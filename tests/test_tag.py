"""Models that tag: what they learn, that stopping costs nothing, and what they refuse."""

import itertools
import json
import random

import numpy as np
import pytest
import torch

from conftest import StopAfter
from tenor import Tagger as Estimator
from tenor import load, store
from tenor.config import TagConfig
from tenor.data.lexicon import Lexicon, batch_of
from tenor.data.sources import read_rows
from tenor.data.tagged import Sentence
from tenor.errors import TenorError
from tenor.jobs.info import info
from tenor.jobs.kinds import TaskOrder, made_of
from tenor.jobs.predict import predict_file
from tenor.jobs.tag import KIND
from tenor.jobs.train_task import train_task
from tenor.models.tag import Tagger, tagged
from tenor.pipelines.tagging import Tagging
from tenor.training.presets_tag import tag_preset
from tenor.training.tag import fit

SMALL = {"layers": 1, "hidden": 16, "embedding": 12, "epochs": 5, "batch_size": 8, "learning_rate": 0.03, "precision": "float32", "cell": "gru"}


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


@pytest.fixture
def three() -> Tagging:
    """Three whose words' scores and chains differ by as much as each other."""
    made = fit(sentences(30, 6), [], preset(networks=3, epochs=1, hidden=5, once_dropout=0.0, dropout=0.0, embedding_dropout=0.0))[0]
    torch.manual_seed(6)
    for member in made.network.members:
        for p in (*member.chain.parameters(), member.embedding.weight, member.spelling.embedding.weight):
            torch.nn.init.normal_(p, std=1.5)
        torch.nn.init.normal_(member.output.weight, std=4)
    return made


def test_several_answer_with_the_mean_score_of_each_way_through_a_sentence(three, tmp_path):
    """The best of all ways, found by scoring every one of them by each network alone."""
    store.write(tmp_path / "m", three.stored({}, {}, []), {})
    again = Tagging.rebuilt(store.read(tmp_path / "m"), precision="float32")
    others = [s._replace(words=s.words[:3], tags=s.tags[:3]) for s in sentences(12, 7)]
    encoded, found = three.lexicon.encode(others), set()
    for at, other in enumerate(others):
        batch = batch_of(encoded, np.array([at]))
        scores = {}
        with torch.no_grad():
            for member in three.network.members:
                member.eval()
                own = member(batch)
                for way in itertools.product(range(len(three.lexicon.marks)), repeat=len(other.words)):
                    scores[way] = scores.get(way, 0.0) + float(member.chain.way(own, torch.tensor(way), batch.sizes))
        best = max(scores, key=scores.__getitem__)
        said = three.lexicon.said(np.array(best))
        assert three.tags([other]) == again.tags([other]) == [said]
        with torch.no_grad():  # and the scores themselves, of a few ways
            three.network.eval()
            for way in list(scores)[::97]:
                assert float(three.network.chain.way(three.network(batch), torch.tensor(way), batch.sizes)) == pytest.approx(scores[way] / 3, abs=1e-3)
        found.add(tuple(said))
    assert len(found) >= 4


def test_several_learn_each_from_its_own_answer(three):
    batch = batch_of(three.lexicon.encode(sentences(9, 8)), np.arange(9))
    three.network.train().zero_grad()
    together = three.network.scores(batch)
    together.loss.backward()
    whole = {name: p.grad.clone() for name, p in three.network.named_parameters() if p.grad is not None}
    losses = []
    for place, member in enumerate(three.network.members):
        three.network.zero_grad()
        loss = member.scores(batch).loss
        loss.backward()
        losses.append(float(loss.detach()))
        for name in ("chain.after", "chain.last", "output.weight"):
            torch.testing.assert_close(3 * whole[f"networks.{place}.{name}"], member.get_parameter(name).grad, rtol=1e-4, atol=1e-6)
    assert float(together.loss.detach()) == pytest.approx(np.mean(losses), rel=1e-5)
    with torch.no_grad():
        chosen = three.network.eval().scores(batch)
        data, tag = three.lexicon.encode(sentences(9, 8)), three.lexicon.tag_of_mark
        assert chosen.right == sum(tag[said] == tag[right] for said, right in zip(tagged(three.network, data), data.tags, strict=True))
        mean = three.network.chain(torch.stack([m(batch) for m in three.network.members]).mean(0), batch.tags, batch.sizes) / len(batch.tags)
        assert float(chosen.loss) == pytest.approx(float(mean), rel=1e-5)


def test_a_sentence_is_tagged_the_same_alone_and_among_others(made):
    others = sentences(30, 3)
    assert made.tags(others) == [made.tags([s])[0] for s in others]


@pytest.mark.parametrize(("cell", "spelling", "networks"), [("lstm", "convolution", 1), ("rnn", "recurrent", 2)])
def test_stopped_and_gone_on_equals_undisturbed(cell, spelling, networks, tmp_path):
    small = preset(cell=cell, spelling=spelling, networks=networks, epochs=3, dropout=0.3, embedding_dropout=0.2)
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


def test_ends_of_spans_are_told_apart_where_tags_are_of_iob2(made):
    assert made.lexicon.tags == ["B-GO", "B-PER", "B-STAY", "I-PER", "O"]
    assert made.lexicon.marks == ["B-GO", "S-GO", "B-PER", "S-PER", "B-STAY", "S-STAY", "I-PER", "E-PER", "O"]
    assert made.network.output.out_features == 9
    for tags in (["I-X", "O"], ["S-X", "O"], ["D", "N"]):  # IOB1, BIOES, no spans
        other = fit([Sentence(["a", "b"], tags)] * 9, [], preset(epochs=1))[0]
        assert not other.lexicon.ends and other.lexicon.marks == other.lexicon.tags == sorted(tags)
    stored = other.stored({}, {}, [])
    assert "ends" not in json.loads(stored.tokenizer)  # as in folders of before
    assert Tagging.rebuilt(stored, precision="float32").tags([Sentence(["a", "b"])]) == other.tags([Sentence(["a", "b"])])
    with pytest.raises(TenorError, match="only tags of IOB2 have ends"):
        Lexicon.from_json(json.dumps(json.loads(stored.tokenizer) | {"ends": True}))


def test_accuracy_is_of_tags_whether_their_ends_are_told_apart_or_not():
    lexicon = Lexicon.of([], ["B-X", "I-X", "O"], (), 10, ends=True)
    assert [lexicon.tags[n] for n in lexicon.tag_of_mark] == ["B-X", "B-X", "I-X", "I-X", "O"]
    network = Tagger(lexicon, TagConfig(spelling="none", hidden=4, embedding=4))
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.copy_(torch.tensor([0.0, 9.0, 0.0, 0.0, 0.0]))  # always S-X
    batch = batch_of(lexicon.encode([Sentence(["a", "b", "c"], ["B-X", "I-X", "O"])]), np.array([0]))
    assert network.scores(batch).right == 1  # the B-X


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
    assert found["right"] == 1 and found["unknown_words"] == 0 and found["notes"] == ["Tags that never occurred in training, so that these words are counted as wrong: B-NEW (2 words)."]
    assert made.measure([Sentence(["left", "IT", "xyz", "up"], ["O"] * 4)])["unknown_words"] == 0.25
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


def column_file(path, rows):
    path.write_text("\n".join("".join(f"{w} {t}\n" for w, t in zip(s.words, s.tags, strict=True)) for s in rows), encoding="utf-8")


def test_commands(tmp_path, tenor, made):
    """Each command is a process of its own and takes seconds: two here, the others by their jobs."""
    column_file(tmp_path / "a.conll", sentences(80, 7))
    done = tenor("train", "a.conll", "--task", "tag", "--hidden", 8, "--embedding", 8, "--epochs", 1, "--batch-size", 8, "--out", "t")
    assert done.code == 0 and "F1 of spans" in done.out and "Words: column 1; tags: column 2" in done.out and "validation" in done.err, done.err
    card = (tmp_path / "t" / "README.md").read_text()
    assert "| PER |" in card and "tenor predict" in card and "max_tokens" not in card
    store.write(tmp_path / "u", made.stored({}, {}, []), {})
    assert tenor("predict", "-i", "-", "-m", "u", stdin="Abeeson van Caaason ran\n").out == "B-PER I-PER I-PER O\tAbeeson van Caaason ran\n"
    assert "a chain over 9 marks of spans, ends included" in info(str(tmp_path / "t"))[1][1]
    found = KIND.evaluate(str(tmp_path / "a.conll"), made, None, None, None, False, None)
    assert found["sentences"] == 80 and found["spans"]["f1"] > 0.97 and found["notes"] == []
    with pytest.raises(TenorError, match=r"No sentence of a\.conll is of part test; it has no parts"):
        KIND.evaluate(str(tmp_path / "a.conll"), made, "test", None, None, False, None)
    with pytest.raises(TenorError, match=r"This model tags words\. Use tenor predict"):
        made_of(store.read(tmp_path / "t"), "generate")
    with pytest.raises(TenorError, match="Use --task tag, or a model that tags"):
        read_rows(tmp_path / "a.conll")
    with pytest.raises(TenorError, match="--task tag has no --max-tokens"):
        KIND.preset(max_tokens=9)


def test_rows_of_part_test_are_kept_apart(tmp_path):
    rows = [{"words": ["a", "b"], "tags": ["X", "Y"], "split": "train"}] * 30 + [{"words": ["a", "c"], "tags": ["X", "NEW"], "split": "test"}, {"words": ["a", "c"], "tags": ["X", "Y"], "split": "train"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    parts = KIND.read(TaskOrder("tag", str(tmp_path / "a.jsonl"), tmp_path / "t", preset()), None)
    assert (len(parts.train), len(parts.validation), [s.words for s in parts.test]) == (27, 3, [["a", "c"]])
    assert "1 sentence left out that stands in part test too." in parts.notes and any("not among them, though in the others: NEW" in n for n in parts.notes)


@pytest.mark.parametrize("steps", [5, 10**6])
def test_test_rows_are_read_by_a_training_that_is_done(tmp_path, steps):
    rows = [{"words": [f"w{i}", "b"], "tags": ["X", "Y"], "split": "test" if i < 4 else "train"} for i in range(60)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    metrics = train_task(TaskOrder("tag", str(tmp_path / "a.jsonl"), tmp_path / "t", preset(epochs=2)), lambda *_: None, StopAfter(steps))
    assert metrics["finished"] == ("test" in metrics) == (steps > 5) and "validation" in metrics


def test_the_datas_own_validation_rows_choose_the_epoch(tmp_path):
    def parts(names, **changes):
        rows = [{"words": [f"w{i}", "b"], "tags": ["X", "Y"], "split": name} for i, name in enumerate(names)]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return KIND.read(TaskOrder("tag", str(tmp_path / "a.jsonl"), tmp_path / "t", preset(**changes)), None)

    names = [*["train"] * 30, "Dev", "dev", "test2016", "testing"]
    found = parts(names)
    assert (len(found.train), [s.words[0] for s in found.validation], [s.words[0] for s in found.test]) == (30, ["w30", "w31"], ["w32", "w33"])
    assert any("2 validation (the data's own), 2 test sentences" in n for n in found.notes)
    found = parts(names, validation=8)
    assert (len(found.train), len(found.validation), len(found.test)) == (24, 8, 2)
    with pytest.raises(TenorError, match="all are of the parts test and validation"):
        parts(["dev", "test2016"])


def test_tags_out_of_their_scheme_are_said_with_their_line(tmp_path):
    (tmp_path / "a.conll").write_text("a B-X\nb I-X\n\n" * 3 + "a I-X\nb O\n\n" + "a B-X\n\n" * 3)
    order = TaskOrder("tag", str(tmp_path / "a.conll"), tmp_path / "t", preset(validation=0))
    assert any("ends are not told apart: they are not of IOB2 in 1 sentence, the first of them at line 10 of a.conll" in n for n in KIND.read(order, None).notes)
    (tmp_path / "a.conll").write_text("a B-X\nb I-X\n\n" * 3)
    notes = KIND.read(order, None).notes
    assert "Tags mark spans, whose ends are told apart." in notes and any("nothing will tell how good the model is" in n for n in notes)
    with pytest.raises(TenorError, match=r"its model asks for that name\. A file of columns gets names by a first line"):
        KIND.read(TaskOrder("tag", str(tmp_path / "a.conll"), tmp_path / "t", preset(beside="pos")), None)


def test_a_column_file_takes_a_value_a_word_only(tmp_path, made):
    """What the first 200 rows do not show."""
    for name, row in [("unequal", {"words": ["a"], "pos": ["X", "Y"]}), ("absent", {"words": ["a"]}), ("text", {"words": ["a"], "pos": "X"})]:
        rows = [*[{"words": ["a", "b"], "pos": ["X", "Y"]}] * 200, {"words": None, "pos": None}, row]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        with pytest.raises(TenorError, match=r"line 202 has 1 word, and not as many values in column 'pos'\. Write \.jsonl"):
            predict_file(KIND.answerer(made), tmp_path / f"{name}.jsonl", tmp_path / "out.conll", None, False, True)
        assert not (tmp_path / "out.conll").exists()


def test_the_kernel_of_the_spelling_is_named_where_it_is_another(made, monkeypatch):
    monkeypatch.setenv("TENOR_KERNEL", "torch")
    network = Tagger(made.lexicon, TagConfig(hidden=4, embedding=4))
    assert network.path == network.recurrent.path
    network.spelling.recurrent.compute = torch.bfloat16
    assert network.spelling.path != network.recurrent.path and network.path == f"{network.recurrent.path}; spelling: {network.spelling.path}"
    filters = Tagger(made.lexicon, TagConfig(hidden=4, embedding=4, spelling="convolution"))
    assert filters.path == filters.recurrent.path


def test_tables_keep_their_columns(tmp_path, made):
    def predicted(source: str, out: str, model: Tagging = made):
        answerer = KIND.answerer(model)
        predict_file(answerer, tmp_path / source, tmp_path / out, None, False, True)
        return (tmp_path / out).read_text(), answerer.summary()

    (tmp_path / "a.jsonl").write_text('{"n":1,"words":["Abeeson","ran"]}\n{"n":2,"words":[]}\n')
    (tmp_path / "a.csv").write_text("n,text\n1,Abeeson ran\n")
    column_file(tmp_path / "a.conll", sentences(9, 7))
    text, summary = predicted("a.jsonl", "b.jsonl")
    assert [json.loads(line) for line in text.splitlines()] == [{"n": 1, "words": ["Abeeson", "ran"], "tags": ["B-PER", "O"]}, {"n": 2, "words": [], "tags": []}]
    assert summary == ["2 words tagged.", "1 sentence without words, answered with no tags."]
    assert predicted("a.csv", "b.conll")[0] == "Abeeson\tB-PER\nran\tO\n\n"
    lines = predicted("a.conll", "c.conll")[0].split("\n\n")
    assert [line.split("\t")[0] for line in lines[3].split("\n")] == sentences(9, 7)[3].words and lines[3].count("\t") == 2 * len(sentences(9, 7)[3].words)


def test_python_fits_saves_and_loads(tmp_path):
    rows = sentences(80, 8)
    X, y = [s.words for s in rows], [s.tags for s in rows]
    model = Estimator(**(SMALL | {"epochs": 2})).fit([*X, []], [*y, []])
    model.save(tmp_path / "t")
    again = load(tmp_path / "t", precision="float32")
    assert isinstance(again, Estimator) and again.predict(X) == model.predict(X) and again.classes_ == model.classes_ == ["B-GO", "B-PER", "B-STAY", "I-PER", "O"]
    assert again.score(X, y) == model.score(X, y) == model.measure(X, y)["spans"]["f1"] and len(model.history_) == 2
    for x, t, said in [
        (["a b"], [["X"]], r"X is a list of lists of words; at place 0 it has 'a b'"),
        ("a b", [["X"]], "got one text"),
        ([["a", "b"]], [["X"]], r"sentence 0 of X has 2 words and of y 1 tag\."),
        ([["a"]], [["X"], ["Y"]], "they have 1 and 2"),
        ([["a", None]], [["X", "Y"]], "not empty; X has None in sentence 0"),
        ([["a"]], [[3]], "Tags are texts"),
    ]:
        with pytest.raises(TenorError, match=said):
            Estimator(**SMALL).fit(x, t)
