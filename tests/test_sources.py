"""Every kind of file, plain and packed: read back exactly, or refused with a sentence that helps."""

import csv
import gzip
import io
import json
import os
import tarfile
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenor.data.sources import read_rows, table_of
from tenor.data.tables import Report
from tenor.errors import TenorError

COLUMNS = ["text", "label", "more"]
# No zero byte (its own test) and no half surrogates (no encoding has them).
TEXTS = st.text(st.one_of(st.sampled_from('",;\t|\n\r \'é’漢😀'), st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=20)
TABLES = st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=6)
FORMS = ["", ".gz", ".zip", ".tar.gz"]


def tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as t:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            t.addfile(member, io.BytesIO(data))
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return path


def put(folder: Path, name: str, data: bytes | str, form: str = "") -> Path:
    """Write a file as it is, gzipped, or as the one member of an archive beside a README."""
    data = data.encode() if isinstance(data, str) else data
    if form == ".zip":
        return zipped(folder / (name + form), {"README.txt": b"about", f"in/{name}": data})
    if form == ".tar.gz":
        return tar(folder / (name + form), {"README.txt": b"about", f"in/{name}": data})
    path = folder / (name + form)
    path.write_bytes(gzip.compress(data) if form == ".gz" else data)
    return path


def read(path: Path, **how: object) -> tuple[list[tuple[int, dict]], Report]:
    report = Report()
    return [tuple(r) for r in table_of(path, **how).records(None, report)], report


def as_csv(rows: list[tuple[str, ...]], delimiter: str = ",", ending: str = "\r\n") -> str:
    """With Windows line ends and as few quotes as possible, or Unix ones and all quotes."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_MINIMAL if ending == "\r\n" else csv.QUOTE_ALL).writerows(rows)
    return out.getvalue()


def starts(rows: list[tuple[str, ...]], **how: str) -> list[int]:
    """The line on which each row of `as_csv(rows)` starts."""
    return [1 + as_csv(rows[:i], **how).count("\n") for i in range(len(rows))]


def refused(path: Path, **how: object) -> str:
    with pytest.raises(TenorError) as caught:
        read_rows(path, **how)
    return str(caught.value)


@settings(max_examples=120)
@given(rows=TABLES, delimiter=st.sampled_from(",;|\t"), ending=st.sampled_from(["\r\n", "\n"]), form=st.sampled_from(FORMS),
       encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))  # fmt: skip
def test_csv_and_tsv_are_read_back_exactly_with_true_line_numbers(tmp_path_factory, rows, delimiter, ending, form, encoding):
    how = {"delimiter": delimiter, "ending": ending}
    path = put(tmp_path_factory.getbasetemp(), "t.tsv" if delimiter == "\t" else "t.csv", as_csv([tuple(COLUMNS), *rows], **how).encode(encoding), form)
    found, report = read(path)
    assert found == [(line, dict(zip(COLUMNS, row, strict=True))) for line, row in zip(starts([tuple(COLUMNS), *rows], **how)[1:], rows, strict=True)]
    assert not report.bad and not report.latin1


@settings(max_examples=60)
@given(rows=st.lists(st.fixed_dictionaries({"text": TEXTS, "label": st.one_of(st.none(), st.booleans(), st.integers(), TEXTS)}), min_size=1, max_size=6),
       ascii_only=st.booleans(), form=st.sampled_from(FORMS))  # fmt: skip
def test_jsonl_is_read_back_exactly(tmp_path_factory, rows, ascii_only, form):
    lines = "".join(json.dumps(r, ensure_ascii=ascii_only) + "\n\n" for r in rows)  # blank lines are no rows
    found, _ = read(put(tmp_path_factory.getbasetemp(), "t.jsonl", lines, form))
    assert found == [(2 * i + 1, r) for i, r in enumerate(rows)]


@settings(max_examples=40)
@given(rows=TABLES, form=st.sampled_from(FORMS))
def test_parquet_is_read_back_exactly(tmp_path_factory, rows, form):
    out = io.BytesIO()
    pq.write_table(pa.table({c: [r[i] for r in rows] for i, c in enumerate(COLUMNS)}), out)
    found, _ = read(put(tmp_path_factory.getbasetemp(), "t.parquet", out.getvalue(), form))
    assert found == [(i + 1, dict(zip(COLUMNS, row, strict=True))) for i, row in enumerate(rows)]


def test_latin_1_lines_are_read_and_counted(tmp_path):
    rows = read_rows(put(tmp_path, "t.csv", b"text,label\ncaf\xe9,pos\n" + "café,neg\n".encode()))
    assert [r.text for r in rows.rows] == ["café", "café"]
    assert "1 line not in UTF-8" in rows.notes[0]


def test_broken_utf_16_is_named(tmp_path):
    assert "UTF-16" in refused(put(tmp_path, "t.csv", "text,label\nfine,pos\n".encode("utf-16") + b"\0"))


HEADLESS = [
    '"Great film, really;\nloved it";positive\n"Dull; far too long";negative\n',
    "positive\tGreat film, really;\t7\nnegative\tDull; far too long\t8\npositive\tFun\t9\n",
]


@pytest.mark.parametrize("data", HEADLESS)
def test_a_first_line_of_data_is_a_row(tmp_path, data):
    rows = read_rows(put(tmp_path, "t.tsv" if "\t" in data else "t.csv", data))
    assert [(r.text[:4], r.label, r.line) for r in rows.rows[:2]] == [("Grea", "positive", 1), ("Dull", "negative", 3 if ";\n" in data else 2)]
    assert "no header" in rows.notes[0]


def test_named_columns_make_the_first_line_a_header(tmp_path):
    path = put(tmp_path, "t.csv", "good,bad\nGreat,1\nDull,0\n")  # both could be labels
    assert [r.text for r in read_rows(path, text="good", label="bad").rows] == ["Great", "Dull"]


# Folders named by label ----------------------------------------------------------------------------------------------

ACLIMDB = {
    "aclImdb/README": b"about",
    "aclImdb/imdbEr.txt": b"0.1\n0.2\n",
    "aclImdb/train/urls_pos.txt": b"http://...\n",
    "aclImdb/train/pos/0_9.txt": b"Loved it.<br /><br />Twice.",
    "aclImdb/train/neg/0_3.txt": b"Dull.",
    "aclImdb/train/unsup/0_0.txt": b"Who knows?",
    "aclImdb/test/pos/0_8.txt": "Très bien.".encode(),
    "aclImdb/test/neg/0_1.txt": b"Caf\xe9 scenes are dull.",
}


@pytest.mark.parametrize("form", ["", ".zip", ".tar.gz", ".tar.bz2"])
def test_the_folders_of_aclimdb(tmp_path, form):
    """In the real archive imdbEr.txt comes beside train and test, and is no review."""
    path = tmp_path / ("aclImdb" + form)
    if form == ".zip":
        zipped(path, ACLIMDB)
    elif form:
        tar(path, ACLIMDB, "w" + form.replace(".tar.", ":"))
    else:
        for name, data in ACLIMDB.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
    rows = read_rows(path)
    wanted = {("Loved it. Twice.", "pos", "train"), ("Dull.", "neg", "train"), ("Très bien.", "pos", "test"), ("Café scenes are dull.", "neg", "test")}
    assert {r[:3] for r in rows.rows} == wanted and len(rows.rows) == 4
    assert rows.unlabelled == 1
    assert "1 file not in UTF-8" in rows.notes[0]


# Broken lines --------------------------------------------------------------------------------------------------------

BROKEN = {
    "quote": '"never closed,pos\r\n',
    "many": "a,b,c\r\n",
    "many lines": '"one\n\nb,pos\ntwo",b,c\r\n',
    "few": "alone\r\n",
    "zero": "a\0b,pos\r\n",
    "stray": '"a" b,pos\r\n',
}
FAULT = {"quote": "", "many": "3 fields where the first line has 2", "many lines": "3 fields", "few": "1 fields", "zero": "zero byte", "stray": "expected"}
# What closes an open quote rightly cannot be told from the quote's own end: no text begins so.
SAFE = TEXTS.filter(lambda t: not t.startswith(('"', ",", "\n", "\r")))


@settings(max_examples=200)
@given(parts=st.lists(st.one_of(st.tuples(SAFE, st.just("pos")), st.sampled_from(sorted(BROKEN))), max_size=8))
def test_each_broken_line_is_named_and_costs_its_own_row_only(tmp_path_factory, parts):
    data, good, bad = "text,label\r\n", [], []
    for part in parts:
        line = 1 + data.count("\n")
        if isinstance(part, str):
            data += BROKEN[part]
            bad.append((line, FAULT[part]))
        else:
            data += as_csv([part])
            good.append((line, {"text": part[0], "label": "pos"}))
    path = put(tmp_path_factory.getbasetemp(), "broken.csv", data)
    found, report = read(path, skip_bad=True)
    assert found == good
    assert report.bad_lines == len(bad)
    for sentence, (line, fault) in zip(report.bad, bad, strict=False):
        assert sentence.startswith(f"line {line}: ") and fault in sentence
    if bad:
        with pytest.raises(TenorError, match=rf"line {bad[0][0]}: .*{bad[0][1]}.* --skip-bad"):
            read(path)


def test_a_quote_open_to_the_end_of_the_file_is_named(tmp_path):
    path = put(tmp_path, "t.csv", 'text,label\n"a\nb",pos\n"never closed,neg\nfine,neg\nfine too,pos\n')
    assert "line 4: a quote is opened and never closed" in refused(path)
    rows = read_rows(path, skip_bad=True)
    assert [r.text for r in rows.rows] == ["a b", "fine", "fine too"] and "1 broken line left out: line" in rows.notes[-1]


NO_OBJECTS = [('{"text": "x"', "not JSON"), ('["x", 1]', "a JSON list"), ("1" * 5000, "not JSON"), ("[" * 100_000, "not JSON"), ('{"text": "a\0"}', "not JSON")]


@pytest.mark.parametrize(("line", "fault"), NO_OBJECTS)
def test_a_broken_line_of_jsonl_is_named(tmp_path, line, fault):
    path = put(tmp_path, "t.jsonl", '{"text": "a", "label": 1}\n\n' + line + '\n{"text": "b", "label": 0}\n')
    assert "line 3: " in refused(path) and fault in refused(path)
    rows = read_rows(path, skip_bad=True)
    assert [r.text for r in rows.rows] == ["a", "b"] and "left out: line 3: " in rows.notes[-1]


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", ".gz", ".zip"])
@pytest.mark.parametrize(
    ("name", "data", "parts"),
    [
        ("t.csv", "", ["empty", "at least one row"]),
        ("t.csv", "\ufeff\r\n\r\n", ["empty", "at least one row"]),
        ("t.jsonl", "\n", ["empty", "at least one row"]),
        ("t.csv", "text,label\n", ["nothing below", "text and a label"]),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0", ["a PNG picture", "Save it as CSV"]),
        ("t.csv", b"\x7fELF\x01\0\0\0\n", ["binary data (a zero byte)", "Save it as CSV"]),
        ("t.jsonl", bytes(1000), ["binary data", "Save it as CSV"]),
        ("t.parquet", b"\x89PNG\r\n\x1a\n\0\0", ["Corrupt Parquet", "Write it again"]),
        ("t.xlsx", b"PK", ["Unknown kind of file", ".parquet", ".tar.gz"]),
        ("t.csv", "id,name\n1,x\n2,y\n", ["Which column", "is the text", "id, name", "--text"]),
        ("t.csv", "text,name\na,x\n", ["Which column", "is the label", "text, name", "--label"]),
        ("t.csv", "text,text\na,x\n", ["'text' twice", "Rename"]),
    ],
)
def test_what_is_no_table_of_texts_and_labels(tmp_path, name, data, parts, form):
    if form == ".zip" and name == "t.xlsx":
        parts = ["must hold one table", "it has none"]
    message = refused(put(tmp_path, name, data, form))
    assert all(p in message for p in parts), message


def test_a_wrong_column_suggests_the_nearest(tmp_path):
    path = put(tmp_path, "t.csv", "review,sentiment\na,pos\n")
    for how in ({"text": "reveiw"}, {"label": "sentimnt"}):
        message = refused(path, **how)
        assert repr(*how.values()) in message and f"did you mean '{'review' if 'text' in how else 'sentiment'}'?" in message
        assert "It has: review, sentiment" in message and f"Choose one with --{next(iter(how))}" in message
    assert "two columns; both are 'review'" in refused(path, label="review")


def test_a_missing_file_suggests_the_nearest(tmp_path):
    put(tmp_path, "reviews.csv", "text,label\n")
    message = refused(tmp_path / "reveiws.csv")
    assert "No such file or folder" in message and "reveiws.csv" in message and "did you mean 'reviews.csv'?" in message
    assert "No such file" in refused(tmp_path / "no" / "x.csv")


def test_a_cut_archive_never_reads_as_a_whole_one(tmp_path):
    """tarfile by itself takes a cut at a member's header for the end; every cut must be noticed or have lost nothing."""
    noise = [os.urandom(150).hex() for _ in range(24)]  # does not compress: cuts fall everywhere
    members = {f"d/train/{('neg', 'pos')[i % 2]}/{i}.txt": t.encode() for i, t in enumerate(noise)}
    table = ("text,label\n" + "".join(f"{t},{i % 2}\n" for i, t in enumerate(noise))).encode()
    whole = {
        "t.csv.gz": gzip.compress(table),
        "t.zip": zipped(tmp_path / "a", members).read_bytes(),
        "u.zip": zipped(tmp_path / "b", {"t.csv": table}).read_bytes(),
        "t.tar.gz": tar(tmp_path / "c", members).read_bytes(),
        "t.tar": tar(tmp_path / "d", members, "w").read_bytes(),
        "u.tar.gz": tar(tmp_path / "e", {"t.csv": table}).read_bytes(),
    }
    for name, data in whole.items():
        refusals = 0
        for end in range(600, len(data), 256 if name == "t.tar" else 487):
            path = put(tmp_path, name, data[:end])
            try:
                found, message = sorted(r.text for r in read_rows(path).rows), ""
            except TenorError as error:
                found, message = sorted(noise), str(error)
                refusals += 1
            assert found == sorted(noise), (name, end)
            assert not message or ("Corrupt archive" in message and "again" in message), message
        assert refusals > 5, name


@pytest.mark.parametrize("name", ["t.csv.gz", "t.zip", "t.tar.gz"])
def test_no_archive_by_its_bytes(tmp_path, name):
    message = refused(put(tmp_path, name, "text,label\na,pos\n"))
    assert "Corrupt archive" in message and name in message and "again" in message


def test_a_parquet_file_cut_anywhere(tmp_path):
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"] * 100, "label": ["b"] * 100}), out)
    for end in range(1, len(out.getvalue()), 97):
        assert "Corrupt Parquet" in refused(put(tmp_path, "t.parquet", out.getvalue()[:end]))


@pytest.mark.parametrize("name", ["../t.csv", "a/../../t.csv", "/tmp/t.csv", "..\\t.csv", "C:/t.csv"])
def test_an_archive_that_climbs_out_is_not_read(tmp_path, name):
    members = {name: b"text,label\na,pos\nb,neg\n"}
    for path in (zipped(tmp_path / "t.zip", members), tar(tmp_path / "t.tar.gz", members), tar(tmp_path / "t.tar", members, "w")):
        message = refused(path)
        assert "climbs out" in message and repr(name) in message and "do not trust" in message


def test_a_link_out_of_the_archive_is_not_read(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as t:
        link = tarfile.TarInfo("t.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "../secret.csv"
        t.addfile(link)
    assert "climbs out" in refused(tmp_path / "t.tar")


def test_two_tables_are_one_too_many(tmp_path):
    members = {"a.csv": b"text,label\na,pos\n", "b.csv": b"text,label\nb,neg\n", "__MACOSX/._a.csv": b"\0"}
    for path in (zipped(tmp_path / "t.zip", members), tar(tmp_path / "t.tar.gz", members)):
        message = refused(path)
        assert "must hold one table" in message and "a.csv, b.csv" in message and "it has 2" in message and "Name the file" in message


def test_a_file_beside_an_archive_is_not_taken_for_its_member(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text, name in (("inner", "in.parquet"), ("outer", "t.parquet")):
        pq.write_table(pa.table({"text": [text], "label": ["pos"]}), name)
    path = tar(tmp_path / "t.tar.gz", {"t.parquet": Path("in.parquet").read_bytes()})
    assert [r.text for r in read_rows(path).rows] == ["inner"]


# Labels and sizes ----------------------------------------------------------------------------------------------------


def test_rows_without_a_label_are_counted_apart_and_case_is_merged(tmp_path):
    rows = read_rows(put(tmp_path, "t.csv", "text,label,split\na,Pos,Train\nb,,train\nc,unsup,test\nd,pos,test\ne,NEG,dev\nf,pos,\n,neg,\n"))
    wanted = [("a", "pos", "train"), ("d", "pos", "test"), ("e", "NEG", "dev"), ("f", "pos", None), ("", "NEG", None)]
    assert [(r.text, r.label, r.part) for r in rows.rows] == wanted
    assert rows.unlabelled == 2


def test_stars_become_sentiment_and_the_middle_no_label(tmp_path):
    path = put(tmp_path, "t.csv", "text,stars\na,★★★★★\nb,3 stars\nc,1\n")
    assert [r.label for r in read_rows(path).rows] == ["★★★★★", "3 stars", "1"]
    rows = read_rows(path, stars="5")
    assert [(r.text, r.label) for r in rows.rows] == [("a", "positive"), ("c", "negative")] and "1 row with a rating in the middle" in rows.notes[0]


def test_parquet_without_values_has_empty_texts_and_no_labels(tmp_path):
    pq.write_table(pa.table({"text": [None, "b", "c"], "label": [1.0, None, 0.0]}), tmp_path / "t.parquet")
    rows = read_rows(tmp_path / "t.parquet")
    assert [(r.text, r.label) for r in rows.rows] == [("", "1"), ("c", "0")] and rows.unlabelled == 1


@pytest.mark.parametrize("piece", ["word ", "<a", "&amp;", "&#", '""'])
def test_a_text_of_ten_million_characters_takes_seconds(tmp_path, piece):
    text = piece * (10_000_000 // len(piece))
    began = time.perf_counter()
    (row,) = read_rows(put(tmp_path, "t.csv", f'text,label\n"{text}",pos\n')).rows
    assert time.perf_counter() - began < 20  # about 2; what grows with the square would take hours
    assert len(row.text) in (9_999_999, 10_000_000, 2_000_000, 5_000_000)
