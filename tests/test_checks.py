import numpy as np
import pytest

from tenor.data.checks import check_labels, check_rows
from tenor.data.sources import Row
from tenor.data.splits import Split
from tenor.errors import TenorError


def rows(*pairs: tuple[str, str]) -> list[Row]:
    return [Row(text, label, None, i + 1) for i, (text, label) in enumerate(pairs)]


DATA = rows(
    ("Good", "pos"),  # 0 to 5: training
    ("good", "pos"),  # repeats 0
    ("bad", "neg"),
    ("odd", "neg"),
    ("", "pos"),
    ("", "neg"),  # repeats an empty text, which is no contradiction
    ("ODD", "pos"),  # 6, 7: validation; contradicts 3
    ("bad", "neg"),  # in the test rows too; no repetition, 2 is in another part
    ("BAD", "neg"),  # 8 to 10: test
    ("odd", "neg"),
    ("new", "pos"),
)
PARTS = Split(np.arange(6), np.arange(6, 8), np.arange(8, 11), "by hand")


def test_findings_of_a_small_set():
    split, found = check_rows(DATA, PARTS, DATA, ["neg", "pos"], 7, keep_overlap=False)
    assert (found.train, found.validation, found.test, found.unlabelled) == (4, 0, 3, 7)
    assert split.train.tolist() == [0, 1, 4, 5] and split.validation.tolist() == [] and split.test.tolist() == [8, 9, 10]
    assert found.empty == 2
    assert found.duplicates == 2
    assert found.contradictory == 1 and found.example == "as in lines 4 and 7"
    assert found.overlap == found.to_json()["overlap"] == 4
    assert found.balance == {"neg": 0.25, "pos": 0.75}


def test_validation_rows_that_repeat_training_rows_are_dropped_also_where_the_overlap_is_kept():
    split, found = check_rows(DATA, PARTS, DATA, ["neg", "pos"], 7, keep_overlap=True)
    assert split.train.tolist() == list(range(6)) and split.validation.tolist() == []
    assert found.repeated == 2 and found.overlap == 4


def test_a_second_file_is_compared_by_text_and_counted_in_its_own_numbers():
    second = Split(PARTS.train, PARTS.validation, np.arange(2), "second file")
    split, found = check_rows(DATA, second, rows(("bad", "pos"), ("bad", "pos")), ["neg", "pos"], 0, keep_overlap=False)
    assert split.train.tolist() == [0, 1, 3, 4, 5]
    assert found.overlap == 2 and found.contradictory == 2 and found.duplicates == 3 and found.test == 2


def test_sentences_say_what_was_found_and_what_was_done():
    text = " ".join(check_rows(DATA, PARTS, DATA, ["neg", "pos"], 7, False)[1].sentences(dropped=True))
    for part in ("neg 25.0%, pos 75.0%", "7 rows without a label", "2 texts without words", "2 rows with a text that stands earlier", "1 text with different"):
        assert part in text
    assert "4 training or validation rows with the text of a test row; dropped" in text
    assert "F1" not in text
    assert "kept, as you asked" in check_rows(DATA, PARTS, DATA, ["neg", "pos"], 7, True)[1].sentences(dropped=False)[-2]


def test_clean_data_has_the_balance_only_and_a_lopsided_one_a_warning():
    data = rows(*((f"text {i}", "pos" if i % 10 else "neg") for i in range(140)))

    def said(train: int, validation: int) -> list[str]:
        parts = np.split(np.arange(140), [train, train + validation])
        return check_rows(data, Split(*parts, ""), data, ["neg", "pos"], 0, False)[1].sentences(True)

    assert "99 training rows are few" in said(99, 30)[2] and "No validation rows: the last epoch is kept" in said(100, 0)[2]
    assert "29 validation rows are few" in said(100, 29)[2]
    sentences = said(100, 30)
    assert sentences[0] == "Labels in the training rows: neg 10.0%, pos 90.0%." and "F1" in sentences[1] and len(sentences) == 2


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        ([], ["No row of t.csv has a label", "two different", "--label"]),
        (["pos"] * 5, ["at least two different labels", "every row of t.csv has 'pos'", "--label"]),
        (["a", "a", "b", "b", "odd"], ["at least two rows", "seen once in t.csv: odd", "Add rows"]),
        ([str(i) for i in range(300)] * 2, ["300 different labels in 600 rows of t.csv", "no class", "--label"]),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(labels, parts):
    with pytest.raises(TenorError) as caught:
        check_labels(labels, "t.csv")
    assert all(p in str(caught.value) for p in parts), caught.value


def test_labels_that_can_be_learned():
    check_labels(["a", "b"] * 2, "t.csv")
    check_labels([str(i) for i in range(200)] * 10, "t.csv")
