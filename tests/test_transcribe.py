"""Models that transcribe: what they learn, that decoding sums what it says, that stopping costs nothing, and what they refuse."""

import itertools
import json
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from conftest import StopAfter
from sounds import RATE, recordings, tone, write_wav
from tenor import TenorError, Transcriber, load, store
from tenor.cli import app
from tenor.config import SoundConfig, TranscribeConfig
from tenor.data.frames import features, steps_of
from tenor.data.joined import Lesson, batch_of, heard, join, needed, strings, unchanged
from tenor.data.recordings import Recording, Symbols, of_whole, whole
from tenor.data.sound import Sound
from tenor.data.views import LONGEST, seen, views_of
from tenor.jobs.kinds import TaskOrder
from tenor.jobs.predict import predict_file
from tenor.jobs.transcribe import KIND, Transcripts
from tenor.models.transcribe import SpeechNetwork, all_ways, beam_search, distance, greedy, most_probable
from tenor.pipelines.transcription import Transcription
from tenor.training import loop
from tenor.training import transcribe as training
from tenor.training.presets_transcribe import transcribe_preset
from tenor.training.transcribe import fit, joined

pytestmark = pytest.mark.usefixtures("one_thread")

SOUND = SoundConfig(bands=10, stack=2)


# Decoding ---------------------------------------------------------------------------------------------------------------


def collapsed(way: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(s for s, _ in itertools.groupby(way) if s)


def all_sums(logs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of everything that can be said, way by way."""
    sums: dict[tuple[int, ...], float] = {}
    for way in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        sums[collapsed(way)] = sums.get(collapsed(way), 0.0) + math.exp(sum(logs[t, s] for t, s in enumerate(way)))
    return sums


def random_logs(seed: int, steps: int, symbols: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(steps, symbols)) * 1.5
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("steps", "symbols"), [(1, 3), (4, 3), (5, 4), (6, 3)])
def test_a_wide_beam_sums_over_all_ways(seed, steps, symbols):
    logs = random_logs(seed, steps, symbols)
    sums = all_sums(logs)
    found = beam_search(logs, width=10**6, least=0)
    assert {tuple(h.symbols) for h in found} == set(sums)
    for h in found:
        assert math.exp(h.log) == pytest.approx(sums[tuple(h.symbols)], rel=1e-9)
    assert [h.log for h in found] == sorted((h.log for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("steps", "symbols"), [((4, 4), 3), ((5, 3, 4), 4), ((1, 1), 3), ((2, 5), 3)])
def test_of_several_the_mean_probability_of_what_is_said_decides(seed, steps, symbols):
    logs = [random_logs(100 * seed + n, count, symbols) for n, count in enumerate(steps)]
    each = [all_sums(own) for own in logs]
    mean = {said: sum(sums.get(said, 0.0) for sums in each) / len(steps) for said in set().union(*each)}
    best = max(mean, key=mean.__getitem__)
    found = most_probable(logs, width=10**6, least=0)
    assert tuple(found.symbols) == best and math.exp(found.log) == pytest.approx(mean[best], rel=1e-6)
    ways = {collapsed(tuple(own.argmax(1).tolist())) for own in logs}
    assert tuple(most_probable(logs, 1).symbols) == max(ways, key=mean.__getitem__)
    assert all_ways(logs[0], [[1] * (steps[0] + 1), []])[0] == -math.inf


def test_what_all_find_probable_is_judged_though_it_is_the_first_of_none():
    shares = np.full((9, 12), 0.05)
    for reading, row in enumerate(shares):
        row[1 + reading], row[11] = 0.3, 0.25
    readings = list(np.log(shares / shares.sum(1, keepdims=True))[:, None].astype(np.float32))
    assert most_probable(readings, 8).symbols == [11] and beam_search(readings[3], 8)[0].symbols == [4]


@pytest.mark.parametrize("seed", range(8))
def test_a_narrow_beam_counts_no_way_twice(seed):
    logs = random_logs(seed, 6, 3)
    sums = all_sums(logs)
    found = beam_search(logs, width=4)
    assert len(found) == 4
    assert all(h.log <= math.log(sums[tuple(h.symbols)]) + 1e-9 for h in found)
    assert sums[tuple(found[0].symbols)] > 0.5 * max(sums.values())


def test_greedy_takes_the_best_way_within_each_row():
    logs = torch.from_numpy(np.stack([random_logs(s, 7, 4) for s in range(5)], 1))
    lengths = torch.tensor([7, 3, 1, 5, 7])
    ways = logs.argmax(2)
    assert greedy(logs, lengths) == [list(collapsed(tuple(ways[:n, b].tolist()))) for b, n in enumerate(lengths.tolist())]


def test_the_loss_is_the_sum_over_all_ways_and_padding_changes_nothing():
    torch.manual_seed(0)
    network = SpeechNetwork(6, 4, TranscribeConfig(hidden=5, cell="gru")).eval()
    rng = np.random.default_rng(0)
    rows, targets = [rng.normal(size=(n, 6)).astype(np.float32) for n in (4, 6, 3)], [[1, 1], [3], [2, 1]]
    with torch.no_grad():
        together = network.scores(*batch_of(rows, targets))
        losses = []
        for row, target in zip(rows, targets, strict=True):
            alone = batch_of([row], [target])
            sums = all_sums(network(alone.steps, alone.lengths)[:, 0].double().numpy())
            losses.append(-math.log(sums[tuple(target)]) / len(target))
            assert float(network.scores(*alone).loss) == pytest.approx(losses[-1], rel=1e-4)
        assert float(together.loss) == pytest.approx(np.mean(losses), rel=1e-4)
        assert (together.rows, together.tokens) == (3, 13)


@settings(max_examples=60)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_distance_is_the_fewest_edits(a, b):
    @cache
    def fewest(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(fewest(i - 1, j) + 1, fewest(i, j - 1) + 1, fewest(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    assert distance(a, b) == fewest(len(a), len(b))


# Joining ----------------------------------------------------------------------------------------------------------------


def test_an_epoch_hears_each_recording_once_in_strings_of_one_speaker():
    rows = recordings(40, 0)
    lesson = Lesson(rows, Symbols.of([r.text for r in rows]), SoundConfig(join=5, bands=10, stack=2), 8000, 8, 4, 7)
    plans = [lesson.plan(e) for e in range(3)]
    for plan in plans:
        used = [s for _, _, batch in plan for s in batch]
        assert sorted(i for s in used for i in s) == list(range(40))
        assert all(len({rows[i].speaker for i in s}) == 1 and len(s) <= 5 for s in used) and all(batch for _, _, batch in plan)
    assert len({len(p) for p in plans}) == 1 and plans[0] != plans[1] and plans == [lesson.plan(e) for e in range(3)]
    one, again = lesson.batch(plans[1][2]), lesson.batch(plans[1][2])
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert {len(s) for _, _, batch in plans[0] for s in batch} == {1}  # the first quarter of the epochs
    assert sorted(len(s) for s in strings(rows, np.random.default_rng(0), 8, 0.0, 3))[2:][0] >= 3  # but for the rest of each speaker


def test_joined_is_one_after_another():
    rows = recordings(3, 1)
    found = join(rows, np.random.default_rng(0), SoundConfig(silence=0.0, level=0.0), 8000)
    assert found.text == "low mid high"
    np.testing.assert_allclose(found.samples * 32768, np.concatenate([r.samples for r in rows]), atol=0.01)
    apart = join(rows, np.random.default_rng(0), SoundConfig(silence=0.5), 8000)
    assert len(found.samples) < len(apart.samples) < len(found.samples) + 4 * 4000
    slow = join(rows, np.random.default_rng(0), SoundConfig(silence=0.0), 8000, speed=20)
    assert len(slow.samples) == pytest.approx(2 * len(found.samples), abs=6)


def test_however_fast_there_are_steps_for_all_symbols():
    rows = recordings(6, 2, (0.05, 0.06))
    config = SoundConfig(bands=10, stack=2, silence=0.0, speed=0.5)
    for seed in range(20):
        assert len(heard(rows, np.random.default_rng(seed), config, 8000, 25)) >= 25
    assert needed([1, 1, 2, 2, 2]) == 8
    assert sum(len(b.lengths) for b in unchanged(rows, Symbols("word", ["high", "low", "mid"]), SoundConfig(join=3), 8000, 0)) > 6
    assert steps_of(400, SOUND, 8000) == 12  # silence at both ends included


# Learning ---------------------------------------------------------------------------------------------------------------

SMALL = {"cell": "gru", "layers": 1, "hidden": 24, "epochs": 12, "batch_size": 4, "learning_rate": 0.01, "dropout": 0.0, "precision": "float32", "bands": 12, "join": 4}


@pytest.fixture(scope="module")
def made():
    model, outcome = fit(recordings(60, 0), recordings(12, 1), RATE, transcribe_preset(**SMALL))
    assert outcome.history[-1]["validation_accuracy"] > 0.9
    return model


def connected(count: int, seed: int) -> list[Recording]:
    """Strings of tones, with silences of their own."""
    rng, rows = np.random.default_rng(seed), recordings(count, seed)
    joined = [join([rows[i] for i in s], rng, SoundConfig(silence=0.15), RATE) for s in strings(rows, rng, 5, 0.0, 3)]
    return [Recording(whole(j.samples), j.text, "", None, "") for j in joined]


def test_it_learns_words_alone_and_connected(made):
    assert made.measure(recordings(30, 2))["word_error_rate"] < 0.04
    found = made.measure(connected(60, 3))
    assert found["word_error_rate"] < 0.06 and found["words"] == 60 and found["rows"] < 25
    assert 0 < found["character_error_rate"] < 0.1 or found["character_errors"] == 0
    wrong = made.measure([r._replace(text="mid") for r in recordings(30, 2)])
    assert wrong["word_errors"] == 20 and wrong["right"] == 10


def test_any_rate_and_company_give_the_same_words(made):
    rng = np.random.default_rng(5)
    sounds = [Sound(np.concatenate([tone(w, 0.2, rng, rate) for w in words.split()]), rate) for words, rate in [("low mid high", 8000), ("high low", 44_100), ("mid", 22_050)]]
    said = made.transcribe(sounds)
    assert [s.text for s in said] == ["low mid high", "high low", "mid"] and all(0.3 < s.probability <= 1 for s in said)
    for one, sound in zip(said, sounds, strict=True):
        alone = made.transcribe([sound])[0]
        assert alone.text == one.text and alone.probability == pytest.approx(one.probability, rel=1e-3)
        assert [made.transcribe([sound], beam, once)[0].text for beam, once in ((1, False), (8, True), (1, True))] == [one.text] * 3
    assert made.transcribe([Sound(np.zeros(16_000, np.float32), 8000)])[0].seconds == 2
    long = Sound(np.tile(sounds[2].samples, 1 + LONGEST * 22_050 // len(sounds[2].samples)), 22_050)  # heard once
    beside, after = made.transcribe([sounds[0], long, sounds[2]]), made.transcribe([long], once=True)[0]
    assert [beside[0].text, beside[2].text] == ["low mid high", "mid"] and beside[1] == pytest.approx(after) and beside[1].text.startswith("mid mid mid")
    with pytest.raises(TenorError, match="beam must be at least 1"):
        made.transcribe(sounds, 0)


def test_several_answer_together(tmp_path):
    """The loss, and what is said, by the mean of the probabilities that each gives a whole text; every network learns from its own answer."""
    two = fit(recordings(24, 0), [], RATE, transcribe_preset(**(SMALL | {"networks": 2, "epochs": 6, "hidden": 7})))[0]
    store.write(tmp_path / "m", two.stored({}, {}, []), {})
    again = Transcription.rebuilt(store.read(tmp_path / "m"), precision="float32")
    one, other = two.network.members
    assert again.path == one.path
    batch = next(iter(unchanged(recordings(6, 1), two.symbols, two.sound, RATE, 0)))
    with torch.no_grad():
        losses = [[F.ctc_loss(n(*batch[:2])[:, i : i + 1], words, t, size, reduction="sum") for n in (one, other)] for i, (words, t, size) in enumerate(zip(batch.targets.split(batch.sizes.tolist()), batch.lengths[:, None], batch.sizes[:, None], strict=True))]
        together = [-math.log((math.exp(-a) + math.exp(-b)) / 2) / size for (a, b), size in zip(losses, batch.sizes.tolist(), strict=True)]
        assert float(two.network.eval().scores(*batch).loss) == pytest.approx(np.mean(together), rel=1e-4)
        assert min(abs(float(a - b)) for a, b in losses) > 1e-3
    sounds = [Sound(of_whole(r.samples), RATE) for r in recordings(12, 2)]
    with torch.no_grad():
        for sound, said, read in zip(sounds, two.transcribe(sounds), again.transcribe(sounds), strict=True):
            looks = [torch.from_numpy(seen(sound.samples, view, two.sound, RATE))[:, None] for view in views_of(len(sound.samples), two.sound, RATE)]
            assert len(looks) == 9
            wanted = most_probable([n(look, torch.tensor([len(look)]))[:, 0].numpy() for look in looks for n in (one, other)], 8)
            assert said.text == read.text == two.symbols.decode(wanted.symbols)
            assert said.probability == pytest.approx(math.exp(min(0, wanted.log)), rel=1e-3)
    heard_alone = [two.transcribe([Sound(of_whole(r.samples), RATE)], beam=1, once=True)[0].text for r in recordings(12, 2)]
    alone = batch_of([features(of_whole(r.samples), two.sound, RATE) for r in recordings(12, 2)], [two.symbols.encode(r.text) for r in recordings(12, 2)])
    with torch.no_grad():
        assert two.network.scores(*alone).right == sum(a == r.text for a, r in zip(heard_alone, recordings(12, 2), strict=True))
    two.network.train()
    loss = two.network.scores(*batch).loss  # there is no dropout
    torch.testing.assert_close(loss, (one.scores(*batch).loss + other.scores(*batch).loss) / 2)


def test_a_folder_of_before_pitch_was_taken_out_hears_all_that_the_bands_tell(made):
    stored = made.stored({}, {}, [])
    assert stored.config["text"].pop("cepstra") == 14
    assert Transcription.rebuilt(stored).sound.cepstra == stored.config["text"]["bands"] == 12


@pytest.mark.parametrize(("cell", "networks"), [("lstm", 1), ("rnn", 2)])
def test_stopped_and_gone_on_equals_undisturbed(cell, networks, tmp_path):
    small = transcribe_preset(**(SMALL | {"cell": cell, "networks": networks, "epochs": 2, "hidden": 6, "layers": 2, "dropout": 0.2, "input_dropout": 0.1}))
    rows, aside = recordings(24, 0), recordings(6, 1)
    undisturbed = fit(rows, aside, RATE, small)[1]
    for steps in (1, 3):
        torch.rand(3)
        assert not fit(rows, aside, RATE, small, StopAfter(steps), tmp_path)[1].finished
    resumed = fit(rows, aside, RATE, small, None, tmp_path)[1]
    assert resumed.finished and all(torch.equal(resumed.weights[k], w) for k, w in undisturbed.weights.items())
    assert [e["validation_loss"] for e in resumed.history] == [e["validation_loss"] for e in undisturbed.history]
    with pytest.raises(TenorError, match="changed: data"):
        fit([rows[0]._replace(text="mid"), *rows[1:]], aside, RATE, small, StopAfter(1), tmp_path)
    of_another_task(next(tmp_path.glob("*.safetensors")))
    with pytest.raises(TenorError, match="changed: task 'tag' -> 'transcribe'"):
        fit(rows, aside, RATE, small, None, tmp_path)


def of_another_task(checkpoint):
    with safe_open(checkpoint, "pt") as f:
        about = f.metadata()
    save_file(load_file(checkpoint), checkpoint, about | {"settings": json.dumps(json.loads(about["settings"]) | {"task": "tag"})})


def test_the_epoch_of_the_least_loss_is_kept(monkeypatch):
    usual, goodness = loop.train, []
    monkeypatch.setattr(training, "train_network", lambda *given: goodness.append(given[-1]) or usual(*given))
    _, outcome = fit(recordings(24, 0), recordings(6, 1), RATE, transcribe_preset(**(SMALL | {"epochs": 3})))
    losses = [e["validation_loss"] for e in outcome.history]
    assert outcome.best_epoch == 1 + losses.index(min(losses))
    (better,) = goodness
    assert better({"validation_loss": 1.0, "validation_accuracy": 0.5}) > better({"validation_loss": 1.1, "validation_accuracy": 0.6})


def test_recordings_to_test_on_are_spoken_of_where_there_are_some(tmp_path):
    rows = recordings(12, 0)
    for r in rows:
        write_wav(tmp_path / r.name, of_whole(r.samples))
    for last, said in (("test", ", and 1 of part test are read once, at the end."), ("train", "so the last epoch is kept.")):
        (tmp_path / "transcripts.csv").write_text("file,text,split\n" + "".join(f"{r.name},{r.text},{last if i == 11 else 'train'}\n" for i, r in enumerate(rows)))
        notes = KIND.read(TaskOrder("transcribe", str(tmp_path), tmp_path / "m", transcribe_preset()), None).notes
        assert any(note.endswith(said) for note in notes)


def test_what_cannot_be_learnt_is_said():
    rows = recordings(20, 0)
    long = [*rows[:18], rows[18]._replace(text="low " * 30), rows[19]._replace(text="mid mid mid mid mid mid")]
    with pytest.raises(TenorError, match=r"2 sounds too short for what is said: 18.wav \(59 needed, \d+ there\), 19.wav \(11 needed, \d+ there\)"):
        fit(long, [], RATE, transcribe_preset(**(SMALL | {"tokens": "word", "stack": 4})))
    with pytest.raises(TenorError, match="at least 10 recordings"):
        fit(rows[:9], [], RATE, transcribe_preset(**SMALL))
    with pytest.raises(TenorError, match="tokens is one of auto, word, char"):
        transcribe_preset(tokens="bpe")


def test_sentences_are_not_joined():
    assert [joined(recordings(4, 0, (s, s)), RATE, 8) for s in (0.5, 2.0, 3.9, 5.0, 30.0)] == [8, 4, 2, 1, 1]


def test_python_saves_and_loads(tmp_path):
    sounds = [(RATE, r.samples) for r in recordings(24, 0)]
    words = [r.text for r in recordings(24, 0)]
    model = Transcriber(**{k: v for k, v in SMALL.items() if k not in ("bands", "dropout")} | {"epochs": 2}).fit(sounds, words)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m", precision="float32")
    assert isinstance(again, Transcriber) and again.predict(sounds) == model.predict(sounds) and len(again.history_) == 2
    assert again.score(sounds, words) == pytest.approx(1 - again.measure(sounds, words)["word_error_rate"])
    write_wav(tmp_path / "a.wav", of_whole(sounds[0][1]))
    assert again.predict([tmp_path / "a.wav", str(tmp_path / "a.wav")]) == again.predict([sounds[0]]) * 2
    for wrong, said in [
        ("a.wav", "X is a list of sounds"), ([3], "must be a path or"), ([(RATE, np.zeros((3, 6), np.int16))], "must be a path or"), ([(RATE, np.array([np.nan]))], "not finite"), ([(99, np.zeros(3))], "99 a second"),
    ]:  # fmt: skip
        with pytest.raises(TenorError, match=said):
            model.predict(wrong)
    with pytest.raises(TenorError, match="as long as each other"):
        model.measure(sounds, words[:-1])


def test_a_table_is_looked_through_before_its_first_sound_is_heard(made, tmp_path):
    for r in recordings(3, 0):
        write_wav(tmp_path / r.name, of_whole(r.samples))
    table, answers = tmp_path / "list.csv", tmp_path / "answers" / "said.csv"
    with pytest.raises(TenorError, match=r"it has none. Name the table you mean; tenor transcribe takes WAV files"):
        predict_file(Transcripts(made), tmp_path, answers, None, False, False)
    table.write_text("number,file\n1,0.wav\n2,1.wav\n3,2.wav\n")
    for source in (table, tmp_path):
        assert predict_file(Transcripts(made), source, answers, None, False, True)["rows"] == 3
        assert [line.split(",")[2] for line in answers.read_text().splitlines()] == ["transcript", "low", "mid", "high"]
    with pytest.raises(TenorError, match=r"No column 'fil' for the sound in list.csv; did you mean 'file'\? .* Choose one with --text"):
        predict_file(Transcripts(made), table, answers, "fil", False, True)
    whole_file = (tmp_path / "2.wav").read_bytes()
    (tmp_path / "2.wav").unlink()
    deaf = Transcripts(None)  # type: ignore[arg-type]  # it can transcribe nothing
    with pytest.raises(TenorError, match=r"list.csv names 1 file that .* does not hold: 2.wav \(row 4\). Put them there, or leave such rows out of the table"):
        predict_file(deaf, table, answers, None, False, True)
    for data, said in [(b"ID3 a song", "is no WAV file"), (whole_file[:-100], "was cut")]:
        (tmp_path / "2.wav").write_bytes(data)
        with pytest.raises(TenorError, match=f"Row 4 of list.csv: .*2.wav {said}"):
            predict_file(deaf, table, answers, None, False, True)
    table.write_text("number,file\n1,0.wav\n2,\n")
    with pytest.raises(TenorError, match=r"Row 3 of list.csv: Column file is empty"):
        predict_file(deaf, table, answers, None, False, True)


def test_commands(tmp_path, tenor, monkeypatch, capsys):
    """One training in a process of its own; the other commands in this one, which takes a tenth of the time."""

    def run(*arguments):
        app([str(a) for a in arguments], standalone_mode=False)
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sounds"
    folder.mkdir()
    rows = recordings(40, 0)
    for r in rows:
        write_wav(folder / r.name, of_whole(r.samples))
    (folder / "transcripts.csv").write_text("file,text,split\n" + "".join(f"{r.name},{r.text},{'test' if i > 35 else 'train'}\n" for i, r in enumerate(rows)))
    options = ["--task", "transcribe", "--cell", "gru", "--hidden", 16, "--layers", 1, "--epochs", 12, "--batch-size", 4, "--learning-rate", 0.03]
    done = tenor("train", "sounds", *options, "--out", "m")
    assert done.code == 0 and "word error rate" in done.out and "accuracy train" in done.err and "tenor transcribe FILE.wav -m m" in done.out, done.err
    assert {"curves.png", "README.md"} <= {p.name for p in (tmp_path / "m").iterdir()}
    files = ["sounds/0.wav", "sounds/1.wav"]
    said = json.loads(run("transcribe", *files, "-m", "m", "--json"))
    assert [a["file"] for a in said] == files and all(set(a["text"].split()) <= {"low", "mid", "high"} and 0 < a["probability"] <= 1 for a in said)
    found = json.loads(run("evaluate", "sounds", "-m", "m", "--part", "test", "--json"))
    assert found["rows"] == 4 and found["word_error_rate"] == found["word_errors"] / 4
    run("predict", "-i", "sounds/transcripts.csv", "-o", "said.jsonl", "-m", "m")
    lines = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert len(lines) == 40 and lines[0]["transcript"] == said[0]["text"] and lines[0]["file"] == "0.wav"
    write_wav(folder / "empty.wav", np.zeros(0))
    store.write(tmp_path / "labels", store.Stored({"task": "classify"}, "{}", {}, {}, []), {})
    for command, words in [
        (("transcribe", "sounds/empty.wav", "-m", "m"), "holds no samples"),
        (("transcribe", files[0], "-m", "labels"), "This model labels texts. Use tenor predict"),
        (("generate", "x", "-m", "m"), "This model writes down what is said. Use tenor transcribe FILE.wav -m MODEL."),
    ]:
        with pytest.raises(TenorError, match=words):
            run(*command)
        assert not capsys.readouterr().out
