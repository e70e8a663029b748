"""Models that translate: what they learn, that searching finds the best, that stopping costs nothing, and what they refuse."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from conftest import StopAfter
from tenor import TenorError, Translator, load, store
from tenor.config import TranslateConfig
from tenor.data.aligned import Pair, divided, facing, read_pairs
from tenor.data.batches import pack
from tenor.data.subwords import Subwords
from tenor.data.text import PAD, UNK, Ragged
from tenor.jobs.kinds import Parts, made_of
from tenor.jobs.translate import KIND, explained
from tenor.models.token_loss import token_loss
from tenor.models.translate import Search, TextTranslator, agreement, found
from tenor.pipelines.conversation import Conversation
from tenor.pipelines.translation import Translation
from tenor.training.presets_translate import translate_preset
from tenor.training.translate import fit, learn

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
CODE = {str(i): name if i < 7 else f"big {name}" for i, name in enumerate(NAMES, 1)}


def pairs(rows, seed=0, names=()):
    """Digits to their names, of which some are two words, and a point; some with a word that stands on both sides."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(rows):
        words = [str(i) for i in rng.integers(1, 10, rng.integers(1, 5))]
        said = [CODE[w] for w in words]
        if names and rng.random() < 0.5:
            place, name = rng.integers(len(words) + 1), names[rng.integers(len(names))]
            words.insert(place, name)
            said.insert(place, name)
        out.append(Pair(" ".join(words) + ".", " ".join(said) + ".", None))
    return out


SMALL = {"hidden": 32, "embedding": 32, "vocab": 300, "epochs": 12, "batch_size": 16, "learning_rate": 0.01, "dropout": 0.0, "embedding_dropout": 0.0, "piece_dropout": 0.0,
         "label_smoothing": 0.0, "precision": "float32", "max_tokens": 30}  # fmt: skip


def preset(**changes):
    return translate_preset(**(SMALL | changes))


@pytest.fixture(scope="module")
def made() -> Translation:
    seldom = [f"{a}{b}{c}" for a, b, c in product("abklp", "eioua", "mnrst")]
    return fit(pairs(500, names=seldom), pairs(20, 1), preset())[0]


def test_it_learns_to_look_where_it_must(made):
    answers = made.translate(["1 2 3.", "9.", "4 7 5 6."])
    assert [a.text for a in answers] == ["one two three.", "big nine.", "four big seven five six."]
    said, attention = made.attention("1 7 3.")
    assert said == "one big seven three." and attention.target == ["▁one", "▁big", "▁seven", "▁three", ".", "<end>"] and attention.source == ["▁1", "▁7", "▁3", "."]
    assert attention.weights[[0, 3]].argmax(1).tolist() == [0, 2]
    np.testing.assert_allclose(attention.weights.sum(1), 1, rtol=1e-5)
    result = made.measure(pairs(30, 2))
    assert result["bleu"] > 90 and result["chrf"] > 90 and result["perplexity"] < 1.3 and result["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_words_that_no_piece_can_spell_are_copied(made):
    answers = made.translate(["1 Żółw 3.", "Łódź 2."])
    assert [a.text for a in answers] == ["one Żółw three.", "Łódź two."]
    said, attention = made.attention("1 Żółw 3.")
    assert said == "one Żółw three." and attention.source[1] == attention.target[1] == "▁Żółw"


def test_other_texts_in_the_batch_change_no_answer(made):
    texts = [p.source for p in pairs(70, 3)] + ["", "Żółw"]
    together = made.translate(texts)
    assert [made.translate([t])[0].text for t in texts] == [a.text for a in together] and together[70] == ("", 0.0, 0, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_translates_the_same(made):
    texts = ["1 2 3.", "1 Żółw 3.", "9."]
    there = Translation.rebuilt(made.stored({}, {}, []), "cuda", "float32")
    assert [a.text for a in there.translate(texts)] == [a.text for a in made.translate(texts)]


def test_the_kernels_of_all_layers_are_told():
    model = network()
    assert model.path == model.encoder.path
    model.writer.compute = torch.bfloat16
    assert model.path == f"{model.encoder.path}; decoder: {model.writer.path}" != model.encoder.path


def network(**changes):
    torch.manual_seed(1)
    config = TranslateConfig(**({"hidden": 8, "embedding": 6, "layers": 2} | changes))
    model = TextTranslator(9, 7, config).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.7)
    return model


def ragged(*rows):
    return Ragged(np.array([i for row in rows for i in row], np.int32), np.cumsum([0, *map(len, rows)]))


CASES = [{"cell": cell, "attention": attention, "feeding": feeding, "shared": False} for cell, attention, feeding in (("lstm", "dot", False), ("gru", "additive", True), ("rnn", "dot", True))]


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_the_search_finds_the_most_probable_of_all(case):
    """Against the loss of every text of up to 3 tokens that there is."""
    model = network(**case)
    with torch.no_grad():
        model.bias[UNK] += 2
    sources, limit = ragged([3, 4, 5], [6, 1]), 3
    every = [w for n in range(limit + 1) for w in product([UNK, 3, 4, 5, 6], repeat=n)]
    batch = pack(sources, np.arange(2))
    allowed = [[w for w in every if UNK not in w], every]  # <unk> where the source has one
    with torch.inference_mode():
        losses = [[float(model.scores(*facing(ragged(sources[row]), ragged(words), np.array([0]))).loss) for words in allowed[row]] for row in range(2)]
    for penalty in (0.0, 1.0):
        best = found(model, batch.tokens, Search(200, penalty), np.array([limit, limit]))
        for row, each in zip(batch.rows, best, strict=True):
            scores = [-loss * (len(words) + 1) ** (1 - penalty) for words, loss in zip(allowed[row], losses[row], strict=True)]
            place = int(np.argmax(scores))
            assert tuple(each.ids.tolist()) == allowed[row][place] and each.score == pytest.approx(scores[place], abs=1e-4)
            assert each.looked.shape == (len(each.ids) + 1, 3) and each.looked[:, : len(sources[row])].sum(1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_one_pass_is_what_steps_give(case):
    """forward on rows of unequal length, and step a token at a time with what came before."""
    model = network(**case)
    batch = facing(ragged([3, 4, 5, 6], [7, 8], [4]), ragged([3, 4], [5, 6, 3, 3], []), np.arange(3))
    wanted = batch.target[1:]
    with torch.inference_mode():
        whole, looked = model(batch.source, batch.target[:-1], (wanted != PAD).sum(0))
        memory, thought = model.encode(batch.source)
        for t, tokens in enumerate(batch.target[:-1]):
            said, where, thought = model.step(tokens, thought, memory, model.reader.step, model.writer.step)
            live = wanted[t] != PAD
            torch.testing.assert_close(said[live], whole[t][live])
            torch.testing.assert_close(where[live], looked[:, t][live])


def test_stopped_and_gone_on_equals_undisturbed(tmp_path):
    small = preset(epochs=2, dropout=0.2, embedding_dropout=0.1, piece_dropout=0.3, shared=False, layers=2, vocab=300)
    train, aside = pairs(60, names=["abc"]), pairs(9, 1)
    undisturbed = fit(train, aside, small)[1]
    for steps in (1, 4):
        torch.rand(3)
        assert not fit(train, aside, small, StopAfter(steps), tmp_path)[1].finished
    with pytest.raises(TenorError, match="changed: task 'translate' -> 'chat'"):
        learn(Conversation, train, aside, small, None, tmp_path)
    resumed = fit(train, aside, small, None, tmp_path)[1]
    assert resumed.finished and all(torch.equal(resumed.weights[k], w) for k, w in undisturbed.weights.items())
    assert [e["validation_loss"] for e in resumed.history] == [e["validation_loss"] for e in undisturbed.history]


PIECES = Subwords.train(["Ein Mann steht auf der Straße. Zwei Männer stehen.", "A man stands on the street. Two men stand."] * 3, 90)


@settings(max_examples=60)
@given(st.text(st.sampled_from("aeinmstdr EMZ.,-ßä\t"), max_size=30), st.floats(0, 0.9), st.integers(0, 99))
def test_spellings_join_to_the_text_however_merges_are_passed_over(text, share, seed):
    ids, words = PIECES.encode([text])
    clean = " ".join(text.split())
    known = all(PIECES.known(w) for w in words.distinct)
    assert ids[0].tolist() == PIECES.inner.encode(clean, add_special_tokens=False).ids or not known  # as the tokenizers library has it
    spelled = PIECES.spell(words.distinct, share, 3, seed)
    for i, word in enumerate(words.distinct):
        for v in range(3):
            assert PIECES.decode(spelled[3 * i + v], [word]) == word.replace("▁", " ").strip()
    if known:
        assert PIECES.decode(ids[0]) == clean


def test_rare_spellings_are_drawn():
    words = ["▁Straße", "▁stands"]
    assert len({tuple(row) for row in (PIECES.spell(words, 0.5, 20)[i] for i in range(20))}) > 3
    assert len({tuple(row) for row in (PIECES.spell(words, 0.0, 20)[i] for i in range(20))}) == 1


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_in_chunks_is_torchs(smoothing, monkeypatch):
    """Its gradients too; of more rows than a chunk."""
    torch.manual_seed(0)
    x, table, bias, wanted = torch.randn(300, 8), torch.randn(50, 8), torch.randn(50), torch.randint(50, (300,))
    given = [t.requires_grad_() for t in (x, table, bias)]
    loss, right = token_loss(*given, wanted, smoothing)
    expected = F.cross_entropy(x @ table.t() + bias, wanted, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, given), torch.autograd.grad(3 * expected, given))
    assert right == int(((x @ table.t() + bias).argmax(1) == wanted).sum())
    monkeypatch.setattr(torch.Tensor, "scatter_add_", None)  # part of every gradient, and nobody asks for one here
    with torch.inference_mode():
        torch.testing.assert_close(token_loss(*given, wanted, smoothing).loss, expected.detach())


def test_agreement_is_sacrebleus():
    same = ["A dog bites a man.", "The man bites the dog, and runs."]
    assert agreement(same, same)["bleu"] == pytest.approx(100) and agreement(same, same)["chrf"] == pytest.approx(100)
    assert agreement([s.lower() for s in same], same)["bleu"] < 90  # cased


def test_pairs_are_read_and_divided(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [("Ein Hund", "A dog", "train"), ("", "A cat", "train"), ("Ein  Mann", "A man", "train"), ("EIN MANN", "A man!", "val"), ("Eine Frau", "A woman", "test2016"), ("Das", None, "train")]
    path.write_text("".join(json.dumps({"de": a, "en": b, "split": c}) + "\n" for a, b, c in rows))
    read = read_pairs(path, "de", "en")
    assert len(read.pairs) == 4 and read.pairs[1].source == "Ein Mann" and "2 pairs with an empty side" in read.notes[0]
    train, aside, notes = divided(read.pairs, None, 0)
    assert [p.source for p in train] == ["Ein Hund"] and [p.part for p in aside] == ["val"]
    assert "1 pair of test2016 are left out" in notes[0] and "1 pair to learn from left out" in notes[1]
    for columns, said in [((None, "en"), r"--text FROM --label INTO\. .* has: de, en"), (("de", "de"), "both are 'de'"), (("de", "enn"), "Did you mean en|'enn'")]:
        with pytest.raises(TenorError, match=said):
            read_pairs(path, *columns)


def test_pairs_that_are_left_out_are_counted(made):
    long = Pair("1 2.", "one " * 40, None)
    parts = Parts([*pairs(40), long, long], [*pairs(3, 1), long], [], [])
    shorter, outcome = fit(parts.train, parts.validation, preset(epochs=1))
    results, said = KIND.results(shorter, parts), "3 pairs left out: their target is longer than --max-tokens."
    assert results["left_out"] == 3 and KIND.measured(results["validation"]).endswith(f". {said}")
    card = KIND.card("t", {"text": {"max_tokens": 30}}, results | {"best_epoch": 1, "data": {"sentences": []}}, outcome.history).decode()
    assert card.count(said) == 1
    assert made.left_out == 0 and "left out" not in KIND.measured(KIND.results(made, parts)["validation"])


def test_what_cannot_be_learnt_is_refused():
    with pytest.raises(TenorError, match=r"got 2 texts and 1 counterpart\."):
        Translator().fit(["a", "b"], ["c"])
    with pytest.raises(TenorError, match="writes 2 tokens at most, and only 0 pairs of 40"):
        fit([Pair("1 2 3 4", "one two three four", None)] * 40, [], preset(max_tokens=2))
    with pytest.raises(TenorError, match=r"At least 20 pairs are needed to learn from; there are 3\."):
        fit(pairs(3), [], preset())
    for changes, said in [({"hidden": 7}, "even number of units"), ({"attention": "soft"}, "attention is one of dot, additive")]:
        with pytest.raises(TenorError, match=said):
            fit(pairs(40), [], preset(**changes))
    with pytest.raises(TenorError, match="beam must be at least 1; got 0; length penalty must be at least 0"):
        Search(0, -1)
    with pytest.raises(TenorError, match="X is a list of texts; got 7"):
        Translator().fit([7], ["a"])


def test_python_saves_and_loads(tmp_path):
    model = Translator(**{k: v for k, v in SMALL.items() if k not in ("dropout", "embedding_dropout", "piece_dropout", "label_smoothing")} | {"epochs": 2, "shared": False, "validation": 9})
    given = pairs(80)
    model.fit([p.source for p in given], [p.target for p in given])
    model.save(tmp_path / "t")
    again = load(tmp_path / "t", precision="float32")
    assert isinstance(again, Translator) and again.predict(["1 2.", ""]) == model.predict(["1 2.", ""]) and len(again.history_) == 2
    assert again.score(["1."], ["one."]) == pytest.approx(model.score(["1."], ["one."]))
    assert again.explain("1 2.").weights.shape[1] == len(again.explain("1 2.").source)
    with pytest.raises(TenorError, match="this one is empty"):
        again.explain(" ")


def test_a_folder_whose_parts_do_not_fit_is_refused(made):
    stored = made.stored({}, {}, [])
    again = Translation.rebuilt(stored, precision="float32")
    assert again.translate(["1 2."]) == made.translate(["1 2."])
    for config, said in [({"task": "generate"}, "This model generates text"), ({"model": stored.config["model"] | {"hidden": 64}}, "do not fit the settings at"), ({"model": stored.config["model"] | {"shared": False}}, "two tokenizers")]:
        with pytest.raises(TenorError, match=said):
            Translation.rebuilt(store.Stored(stored.config | config, stored.tokenizer, stored.weights, {}, []))


def test_a_picture_has_the_pieces_and_only_two_formats(tmp_path, made):
    found = explained(made, "1 Żółw $x$.", tmp_path / "picture.svg", Search())
    assert found["translation"] and b"<svg" in (tmp_path / "picture.svg").read_bytes() and np.shape(found["weights"]) == (len(found["target"]), len(found["source"]))
    explained(made, "1 2.", tmp_path / "picture.png", Search())
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(TenorError, match=r"\.svg or \.png; got 'picture\.gif'"):
        explained(made, "1 2.", tmp_path / "picture.gif", Search())


def test_commands(tmp_path, tenor):
    """Each command is a process of its own and takes seconds: four here, the others by their jobs."""
    rows = [*pairs(60), *[p._replace(part="test") for p in pairs(5, 4)]]
    (tmp_path / "pairs.tsv").write_text("from\tinto\tsplit\n" + "".join(f"{p.source}\t{p.target}\t{p.part or 'train'}\n" for p in rows))
    (tmp_path / "new.csv").write_text("text,n\n1 2.,7\n,8\n")
    options = ["--task", "translate", "--text", "from", "--label", "into", "--hidden", 16, "--embedding", 16, "--vocab", 300, "--epochs", 2]
    done = tenor("train", "pairs.tsv", *options, "--out", "t")
    assert done.code == 0 and "BLEU" in done.out and "tok:13a" in done.out and "5 pairs of test are left out" in done.out, done.err
    said = tenor("translate", "-i", "-", "-m", "t", stdin="1 2.\n").out
    assert tenor("predict", "-i", "new.csv", "-o", "answers.jsonl", "-m", "t").code == 0
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [line["translation"] for line in lines] == [said.strip(), ""] and lines[0]["n"] == "7"
    failed = tenor("translate", " ", "-m", "t")
    assert failed.code == 2 and "one is empty" in failed.err and not failed.out, failed.err
    again, source = made_of(store.read(tmp_path / "t"), "translate"), str(tmp_path / "pairs.tsv")
    result = KIND.evaluate(source, again, "test", None, None, False, None)
    assert result["pairs"] == 5 and {"bleu", "chrf", "bleu_signature", "chrf_signature", "perplexity"} <= set(result)
    with pytest.raises(TenorError, match="its parts are test, train"):
        KIND.evaluate(source, again, "dev", None, None, False, None)
    with pytest.raises(TenorError, match=r"This model labels texts\. Use tenor predict"):
        made_of(store.Stored({"task": "classify"}, "", {}, {}, []), "translate")
