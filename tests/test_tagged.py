"""Sentences from column files and tables, and what is wrong with some."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenor import TenorError
from tenor.data.tagged import read_sentences

COLUMNS = "Confidence NN B-NP\nin IN B-PP\n\n\nRockwell NNP B-NP\n. . O\n"


def read(tmp_path, name, text, *args, **kwargs):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_sentences(path, *args, **kwargs)


@pytest.mark.parametrize(
    ("name", "text", "arguments"),
    [
        ("a.conll", COLUMNS, {}),
        ("a.txt", "-DOCSTART- -X- O\n\n" + COLUMNS, {}),
        ("a.tsv", COLUMNS.replace(" ", "\t"), {"words": "1", "tags": "3"}),
        ("a.tsv", "token\tpos\ttag\n" + COLUMNS.replace(" ", "\t"), {}),
        ("a.tsv", "words\tpos\ttags\nConfidence in\tNN IN\tB-NP B-PP\nRockwell .\tNNP .\tB-NP O\n", {}),
        ("a.jsonl", '{"tokens":["Confidence","in"],"ner_tags":["B-NP","B-PP"]}\n{"tokens":["Rockwell","."],"ner_tags":["B-NP","O"]}\n', {}),
    ],
)
def test_the_same_sentences_from_all_kinds_of_files(tmp_path, name, text, arguments):
    found = read(tmp_path, name, text, **arguments)
    assert [(r.words, r.tags) for r in found.rows] == [(["Confidence", "in"], ["B-NP", "B-PP"]), (["Rockwell", "."], ["B-NP", "O"])]


def test_parquet_has_parts_columns_beside_and_numbers_as_tags(tmp_path):
    table = {"split": ["train", "test"], "words": [["a", "b"], ["c"]], "pos": [["X", "Y"], ["X"]], "chunk": [[1, 0], [2]]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    found = read_sentences(tmp_path / "a.parquet", None, "chunk", ["pos"])
    assert found.columns == ["words", "chunk", "pos"]
    assert [tuple(r) for r in found.rows] == [(["a", "b"], ["1", "0"], (["X", "Y"],), "train", 1), (["c"], ["2"], (["X"],), "test", 2)]
    with pytest.raises(TenorError, match=r"Which column of a.parquet are the tags\? It could be pos or chunk. Name it with --label"):
        read_sentences(tmp_path / "a.parquet")
    with pytest.raises(TenorError, match=r"No column 'poss'.*did you mean 'pos'\?.*--beside"):
        read_sentences(tmp_path / "a.parquet", None, "chunk", ["poss"])


def test_columns_beside_are_other_ones_each_once(tmp_path):
    text = "words\tpos\ttags\na b\tN V\tX Y\n"
    assert read(tmp_path, "a.tsv", text, None, None, ["pos"]).rows[0].beside == (["N", "V"],)
    for beside, twice in [(["tags"], "tags"), (["pos", "pos"], "pos"), (["words"], "words")]:
        with pytest.raises(TenorError, match=rf"each named once; '{twice}' comes twice\. Leave it out of --beside"):
            read(tmp_path, "a.tsv", text, None, None, beside)


def test_parts_have_one_name_each(tmp_path):
    names = ["Training", "train", " DEV ", "val", "valid", "validation", "testing", "test2016", "other", ""]
    found = read(tmp_path, "a.jsonl", "".join(json.dumps({"words": ["a"], "tags": ["X"], "split": n}) + "\n" for n in names))
    assert [r.part for r in found.rows] == ["train", "train", *["validation"] * 4, "test", "test2016", "other", None]


@pytest.mark.parametrize(
    ("text", "arguments", "columns"),
    [
        ("1 Text NN\n2 runs VB\n", ("2", "3"), ["2", "3"]),  # a word, no name
        ("3 Das ART\n1 Wort NN\n", ("2", "3"), ["2", "3"]),  # a cell as the columns' numbers
        ("id token ner\n1 Text O\n2 runs O\n", (), ["token", "ner"]),
        ("Word kind\nText O\nruns O\n", (None, "kind"), ["Word", "kind"]),
    ],
)
def test_a_first_line_is_names_or_a_word(tmp_path, text, arguments, columns):
    found = read(tmp_path, "a.conll", text, *arguments)
    assert found.columns == columns and len(found.rows[0].words) == 2


def test_conllu_leaves_out_remarks_and_words_within_words(tmp_path):
    rest = "\t_" * 6
    text = f"# text = du bon\n1-2\tdu\t_\t_{rest}\n1\tde\tde\tADP{rest}\n2\tle\tle\tDET{rest}\n2.1\tx\tx\tX{rest}\n3\tbon\tbon\tADJ{rest}\n\n"
    found = read(tmp_path, "a.conllu", text, None, "upos")
    assert found.rows[0].words == ["de", "le", "bon"] and found.rows[0].tags == ["ADP", "DET", "ADJ"]


def test_words_and_tags_of_unequal_number(tmp_path):
    with pytest.raises(TenorError, match=r"line 2: it has 1 columns where the first line has 2\. Every word needs its tag"):
        read(tmp_path, "a.conll", "a X\nb\n\nc Y\n")
    with pytest.raises(TenorError, match=r"Every word needs one tag; line 2 of a.tsv has 2 words and 1 in column tags\. .*--skip-bad"):
        read(tmp_path, "a.tsv", "words\ttags\na b\tX\nc\tY\n")
    for name, text in [("a.conll", "a X\nb\n\nc Y\n"), ("a.tsv", "words\ttags\na b\tX\nc\tY\n")]:
        found = read(tmp_path, name, text, skip_bad=True)
        assert [r.words for r in found.rows] == [["c"]] and "1 broken line left out: line 2" in found.notes[0]


def test_empty_sentences_are_left_out_and_counted(tmp_path):
    found = read(tmp_path, "a.jsonl", '{"words":[],"tags":[]}\n{"words":["a"],"tags":["X"]}\n{"words":null,"tags":null}\n')
    assert len(found.rows) == 1 and found.notes == ["2 empty sentences left out."]
    with pytest.raises(TenorError, match="no sentence with words"):
        read(tmp_path, "b.jsonl", '{"words":[],"tags":[]}\n')
    with pytest.raises(TenorError, match=r"no sentence with words|The file is empty"):
        read(tmp_path, "a.conll", "\n\n")


@pytest.mark.parametrize("bad", ['["a",""]', '["a",null]', '["a",[1]]', "7"])
def test_words_that_are_none(tmp_path, bad):
    with pytest.raises(TenorError, match=r"Line 1 of a\.jsonl|line 1 of a\.jsonl|Line 1"):
        read(tmp_path, "a.jsonl", f'{{"words":{bad},"tags":["X","Y"]}}\n')
    found = read(tmp_path, "a.jsonl", f'{{"words":{bad},"tags":["X","Y"]}}\n{{"words":["a"],"tags":["X"]}}\n', skip_bad=True)
    assert [r.words for r in found.rows] == [["a"]] and found.notes == ["1 broken line left out: line 1: a cell that is empty, or neither text nor number."]
    with pytest.raises(TenorError, match=r"no sentence with words.*1 broken line left out"):
        read(tmp_path, "b.jsonl", f'{{"words":{bad},"tags":["X","Y"]}}\n', skip_bad=True)
