"""Tables of sounds: which columns, files, rates and parts they have, and what is said where something is missing."""

import csv
import io
import json
import wave

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sounds import RATE, recordings, tone, write_wav
from tenor import TenorError
from tenor.data.recordings import Symbols, divided, of_whole, read_recordings

RNG = np.random.default_rng(0)


def folder_of_sounds(folder, words, rate=RATE, head=("file", "text"), **more):
    """WAV files and transcripts.csv; returns the table's path."""
    folder.mkdir(exist_ok=True)
    for i, word in enumerate(words):
        write_wav(folder / f"{i}.wav", tone(word, 0.3, RNG, rate), rate, **more)
    with open(folder / "transcripts.csv", "w", newline="") as f:
        csv.writer(f).writerows([head, *((f"{i}.wav", f" {word.title()}  ") for i, word in enumerate(words))])
    return folder / "transcripts.csv"


def test_a_folder_and_its_table_are_the_same(tmp_path):
    table = folder_of_sounds(tmp_path / "sounds", ["low", "high"], 44_100, channels=1)
    found = read_recordings(table)
    assert [r.text for r in found.rows] == ["low", "high"] and found.rate == 16_000 and [r.name for r in found.rows] == ["0.wav", "1.wav"]
    again = read_recordings(tmp_path / "sounds")
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(found.rows, again.rows, strict=True))
    assert len(found.rows[0].samples) == 4800 and read_recordings(table, rate=8000).rate == 8000


def test_the_lowest_rate_holds_for_all(tmp_path):
    folder_of_sounds(tmp_path / "sounds", ["low", "high"], 16_000)
    write_wav(tmp_path / "sounds" / "1.wav", tone("high", 0.3, RNG, 11_025), 11_025)
    found = read_recordings(tmp_path / "sounds")
    assert found.rate == 8000 and [len(r.samples) for r in found.rows] == [2400, 2400]
    spectrum = np.abs(np.fft.rfft(of_whole(found.rows[0].samples)))
    assert abs(spectrum.argmax() * 8000 / 2400 - 400) < 15


def test_all_missing_files_are_named_and_bad_rows_can_be_left_out(tmp_path):
    table = folder_of_sounds(tmp_path / "sounds", ["low", "mid", "high", "low"])
    (tmp_path / "sounds" / "1.wav").unlink()
    (tmp_path / "sounds" / "3.wav").unlink()
    with pytest.raises(TenorError, match=r"names 2 files that .*sounds does not hold: 1.wav \(row 3\), 3.wav \(row 5\)"):
        read_recordings(table)
    (tmp_path / "sounds" / "0.wav").write_bytes(b"RIFF nothing")
    found = read_recordings(table, skip_bad=True)
    assert [r.text for r in found.rows] == ["high"] and "3 rows left out" in found.notes[-1]
    write_wav(tmp_path / "sounds" / "1.wav", tone("mid", 0.3, RNG))
    write_wav(tmp_path / "sounds" / "3.wav", tone("mid", 0.3, RNG))
    with pytest.raises(TenorError, match=r"Row 2 of transcripts.csv: .*0.wav is no WAV file"):
        read_recordings(table)


@pytest.mark.parametrize(
    ("head", "said"),
    [(("file", "who"), "Which column of transcripts.csv says what is spoken"), (("where", "text"), "has a column of WAV files named file")],
)
def test_unusual_columns(tmp_path, head, said):
    table = folder_of_sounds(tmp_path / "sounds", ["low"], head=head)
    with pytest.raises(TenorError, match=said):
        read_recordings(table)
    if head[0] == "file":
        assert read_recordings(table, text="who").rows[0].text == "low"
    (tmp_path / "empty").mkdir()
    with pytest.raises(TenorError, match="holds one table"):
        read_recordings(tmp_path / "empty")


def test_digits_have_their_own_parts(tmp_path):
    rows = [{"digit": t % 10, "speaker": "ann", "take": t, "pcm": np.full(800, t, "<i2").tobytes()} for t in range(12)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "digits.parquet")
    found = read_recordings(tmp_path / "digits.parquet")
    assert [r.part for r in found.rows] == ["test"] * 5 + ["validation"] * 5 + ["train"] * 2 and found.rate == 8000
    assert (found.rows[3].text, found.rows[3].speaker, found.rows[3].samples.tolist()) == ("3", "ann", [3] * 800)
    assert len(found.notes) == 2
    learn, choose, test = divided(found.rows, None, 0)
    assert [len(learn), len(choose), len(test)] == [2, 5, 5]
    pq.write_table(pa.Table.from_pylist([r | {"split": "train", "rate": 16_000} for r in rows]), tmp_path / "own.parquet")
    own = read_recordings(tmp_path / "own.parquet")
    assert {r.part for r in own.rows} == {"train"} and own.rate == 16_000
    with pytest.raises(TenorError, match="No recording is left to learn from"):
        divided(found.rows[:10], None, 0)


def test_what_is_no_number_is_said_or_left_out(tmp_path):
    rows = [{"digit": i, "take": str(i), "rate": 8000, "pcm": b"\1\0" * 800} for i in range(3)]
    for wrong, said in [({"take": "a"}, "Column take must hold a whole number; got 'a'"), ({"rate": None}, "Column rate must hold a whole number; got None")]:
        pq.write_table(pa.Table.from_pylist([rows[0], rows[1] | wrong, rows[2]]), tmp_path / "a.parquet")
        with pytest.raises(TenorError, match=f"Row 2 of a.parquet: {said}"):
            read_recordings(tmp_path / "a.parquet")
        found = read_recordings(tmp_path / "a.parquet", skip_bad=True)
        assert [r.text for r in found.rows] == ["0", "2"] and f"row 2: {said}" in found.notes[0]


def test_bytes_may_be_whole_wav_files(tmp_path):
    packed = io.BytesIO()
    with wave.open(packed, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(16_000)
        f.writeframes(b"\1\0" * 160)
    pq.write_table(pa.table({"bytes": [packed.getvalue()], "sentence": ["Hello  you"]}), tmp_path / "a.parquet")
    found = read_recordings(tmp_path / "a.parquet")
    assert (found.rate, found.rows[0].text, len(found.rows[0].samples)) == (16_000, "hello you", 160)
    (tmp_path / "a.jsonl").write_text(json.dumps({"file": None, "text": "x"}) + "\n")
    with pytest.raises(TenorError, match=r"Row 1 of a.jsonl: Column file is empty"):
        read_recordings(tmp_path / "a.jsonl")


def test_validation_rows_are_drawn_once_and_test_rows_never():
    rows = [r._replace(part="test" if i < 9 else None) for i, r in enumerate(recordings(99, 0))]
    learn, choose, test = divided(rows, 0.2, 1)
    assert [len(learn), len(choose), len(test)] == [72, 18, 9] and {r.name for r in learn} | {r.name for r in choose} | {r.name for r in test} == {r.name for r in rows}
    assert {w: sum(r.text == w for r in choose) for w in ("low", "mid", "high")} == {"low": 6, "mid": 6, "high": 6}


def test_own_validation_rows_choose_unless_some_are_wished_for():
    rows = [r._replace(part="validation" if i < 9 else "train") for i, r in enumerate(recordings(60, 0))]
    assert [r.name for r in divided(rows, None, 1)[1]] == [r.name for r in rows[:9]]
    for wish, count in [(0.1, 6), (20, 20), (0, 0)]:
        learn, choose, test = divided(rows, wish, 1)
        assert (len(learn), len(choose), test) == (60 - count, count, [])


def test_nothing_is_learnt_from_any_test_part(tmp_path):
    parts = ["train", "Test", "test2", "testing", "val", " Valid", "validation", "dev"]
    table = folder_of_sounds(tmp_path / "sounds", ["low"] * len(parts))
    table.write_text("file,text,split\n" + "".join(f"{i}.wav,low,{part}\n" for i, part in enumerate(parts)))
    learn, choose, test = divided(read_recordings(table).rows, None, 0)
    assert [[r.name for r in rows] for rows in (learn, choose, test)] == [["0.wav"], ["4.wav", "5.wav", "6.wav", "7.wav"], ["1.wav", "2.wav", "3.wav"]]


def test_symbols():
    words, characters = Symbols.of(["one two", "two one"] * 10), Symbols.of(["one two", "two on"])
    assert (words.kind, words.names, words.encode("two six one")) == ("word", ["one", "two"], [2, 1])
    assert characters.kind == "char" and characters.decode(characters.encode("two one")) == "two one"
    assert characters.decode(characters.encode("one  two ")) == "one two" and characters.encode("x") == []
    assert len(words) == 3 and 0 not in words.numbers.values()
    with pytest.raises(TenorError, match="No transcript has a word"):
        Symbols.of(["", " "])
