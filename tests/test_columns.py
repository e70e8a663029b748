import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenor.data.columns import (
    find_column,
    guess_columns,
    label_of,
    looks_like_header,
    match_labels,
    order_labels,
    same_spelling,
    scale_in_doubt,
    stars_to_sentiment,
)
from tenor.errors import TenorError


@pytest.mark.parametrize(
    ("value", "label"),
    [(" pos ", "pos"), (1, "1"), (1.0, "1"), ("0.0", "0"), ("-1.0", "-1"), ("4.5", "4.5"), (True, "1"), (False, "0"), ("True", "True"), ("★", "★")],
)
def test_a_label_is_kept_as_written_but_for_zeros_behind_the_point(value, label):
    assert label_of(value) == label


@pytest.mark.parametrize("value", [None, float("nan"), "", "  ", "unsup", "None", "NULL", "nan", "N/A", "?"])
def test_no_label(value):
    assert label_of(value) is None


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["positive", "negative"], ["negative", "positive"]),
        (["pos", "neg"], ["neg", "pos"]),
        (["True", "False"], ["False", "True"]),
        (["+1", "-1"], ["-1", "+1"]),
        (["good", "bad"], ["bad", "good"]),
        (["10", "9", "1", "2"], ["1", "2", "9", "10"]),
        (["1", "-2", "0", "-1", "2"], ["-2", "-1", "0", "1", "2"]),
        (["10.5", "4.5"], ["4.5", "10.5"]),
        (["★★★", "★", "★★☆"], ["★", "★★☆", "★★★"]),
        (["5 stars", "1 star", "4/5"], ["1 star", "4/5", "5 stars"]),
        (["sports", "arts", "world"], ["arts", "sports", "world"]),
    ],
)
def test_labels_come_in_the_order_of_their_meaning(labels, order):
    assert order_labels(labels) == order == order_labels(order * 2)


def test_labels_that_differ_in_case_become_the_most_frequent_spelling():
    assert same_spelling(["Pos", "POS", "neg", "POS", "pos"]) == ["POS", "POS", "neg", "POS", "POS"]


@pytest.mark.parametrize(
    ("labels", "known", "found"),
    [
        (["pos", "NEGATIVE", "1", "0", "True", "false", "-1"], ["negative", "positive"], [1, 0, 1, 0, 1, 0, 0]),
        (["positive", "neg"], ["0", "1"], [1, 0]),
        (["positive", "neg"], [False, True], [1, 0]),
        (["positive", "neg"], [1, 0], [0, 1]),
        (["Arts", "SPORTS"], ["arts", "sports"], [0, 1]),
        (["A", "a"], ["A", "a"], [0, 1]),
        (["2", "0"], [0, 1, 2], [2, 0]),
    ],
)
def test_labels_of_another_file_are_matched_by_meaning(labels, known, found):
    assert match_labels(labels, known, "t.csv") == found


def test_an_unknown_label_is_named_with_the_nearest():
    with pytest.raises(TenorError) as caught:
        match_labels(["negative", "positve", "zebra"], ["negative", "positive"], "t.csv")
    message = str(caught.value)
    assert "knows the labels negative, positive" in message and "t.csv has 'positve', 'zebra'; did you mean 'positive'?" in message
    assert "--label" in message and "rename" in message
    with pytest.raises(TenorError, match=r"has 'a', 'b', 'c', 'd', 'e' and 1 more\."):
        match_labels(list("fedcba"), ["negative", "positive"], "t.csv")
    with pytest.raises(TenorError, match=r"t.csv has 'x{40} \.\.\.'\. Choose"):
        match_labels(["x" * 99], ["negative", "positive"], "t.csv")
    with pytest.raises(TenorError, match="'pos'"):  # only two labels have a meaning
        match_labels(["pos"], ["negative", "neutral", "positive"], "t.csv")
    with pytest.raises(TenorError, match=r"has .3 stars., .5.\. --stars 5 or --stars 10 makes"):
        match_labels(["3 stars", "5", "1"], ["negative", "positive"], "t.csv", rated=True)
    with pytest.raises(TenorError, match=r"has .3 stars., .5.\. Choose"):  # of a training, --stars is for both its files
        match_labels(["3 stars", "5", "1"], ["negative", "positive"], "t.csv", "The training rows have")


def test_ratings_of_ten_that_are_of_five():
    assert scale_in_doubt(["1", "5", "4 stars"], 10)[0].startswith("No rating is above 5.")
    assert scale_in_doubt(["1", "6"], 10) == scale_in_doubt(["1", "5"], 5) == scale_in_doubt([], 10) == []


def test_stars_of_five_and_of_ten():
    assert stars_to_sentiment(["1", "2", "3 stars", "★★★★", "5/5"], 5, "a.csv") == ["negative", "negative", None, "positive", "positive"]
    assert stars_to_sentiment(["1", "4/10", "5", "6", "7", "10"], 10, "a.csv") == ["negative", "negative", None, None, "positive", "positive"]


@pytest.mark.parametrize("wrong", ["good", "6", "4.5", "-1", "4/10"])
def test_what_is_no_rating_is_named(wrong):
    with pytest.raises(TenorError, match=rf"from 0 to 5; a.csv has '{wrong}'.*--label"):
        stars_to_sentiment(["1", wrong], 5, "a.csv")


@pytest.mark.parametrize("cells", [["review", "sentiment"], ["Text", "0"], ["name", "thing"], [" LABEL ", "a long first column of many words"]])
def test_headers(cells):
    assert looks_like_header(cells)


@pytest.mark.parametrize("cells", [["fine", "pos"], ["5 stars", "fine"], ["★★", "fine"], ["x", ""], ["one two three four five six", "x"], ["x" * 61, "z"]])
def test_data_is_no_header(cells):
    assert not looks_like_header(cells)


def test_columns_are_found_by_their_usual_names_in_order_of_preference():
    assert find_column(["id", "Score", " Label "], None, ("label", "score"), "label", "--label", "t") == " Label "
    assert find_column(["id"], None, ("label",), "label", "--label", "t") is None
    assert find_column(["label", "id"], "id", ("label",), "label", "--label", "t") == "id"


@given(st.lists(st.text("ab c", min_size=20), min_size=4, max_size=8, unique=True), st.permutations(["id", "text", "label"]))
def test_without_names_the_longest_column_is_the_text_and_the_one_of_few_values_the_label(texts, order):
    values = [{"id": str(i), "text": t, "label": "xy"[i % 2]} for i, t in enumerate(texts)]
    assert guess_columns([{k: row[k] for k in order} for row in values]) == ("text", "label")
    assert guess_columns([]) == (None, None)
