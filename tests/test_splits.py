import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenor.config import SplitConfig
from tenor.data.splits import split_rows, validation_split
from tenor.errors import TenorError

MIXED = [0, 1] * 100
SORTED = [0] * 100 + [1] * 100


def split(labels, second_file=None, parts=None, seed=0, **wish):
    return split_rows(labels, parts or [None] * len(labels), SplitConfig(**wish), seed, second_file)


def refused(*given, **wish) -> str:
    with pytest.raises(TenorError) as caught:
        split(*given, **wish)
    return str(caught.value)


def share(labels, rows) -> float:
    return float(np.mean(np.asarray(labels)[rows]))


def test_range_takes_the_first_rows_and_the_next():
    found = split(MIXED, how="range", train_rows=120, test_rows=50, validation=20)
    assert sorted([*found.train, *found.validation]) == list(range(120))
    assert len(found.validation) == 20 and found.test.tolist() == list(range(120, 170))
    assert split(MIXED, how="range", train_rows=120).test.tolist() == list(range(120, 200))
    assert split(MIXED, how="range", test_rows=30).test.tolist() == list(range(170, 200))
    assert "120 and 50 rows" in found.name


@given(
    labels=st.permutations([0] * 24 + [1] * 12 + [2] * 20),
    seed=st.integers(0, 9),
    how=st.sampled_from(["random", "range", "second file"]),
    train=st.integers(20, 30),
    test=st.integers(5, 10),
    validation=st.sampled_from([None, 0, 3, 0.1]),
)
def test_parts_are_disjoint_of_the_size_asked_for_and_the_same_for_the_same_seed(labels, seed, how, train, test, validation):
    wish = {"train_rows": train, "validation": validation, "seed": seed} | ({"second_file": test} if how == "second file" else {"how": how, "test_rows": test})
    try:
        found = split(labels, **wish)
    except TenorError:  # the first rows may lack a label
        if how == "random":
            raise
        return
    kept = {*found.train.tolist(), *found.validation.tolist()}
    assert len(found.train) + len(found.validation) == len(kept) == train and len(found.test) == test
    assert len(found.validation) == {None: 2 if train < 30 else 3, 0: 0, 3: 3, 0.1: round(0.1 * train)}[validation]
    if how == "second file":
        assert kept == set(range(train)) and found.test.tolist() == list(range(test))
    else:
        assert not kept & set(found.test.tolist())
    again = split(labels, **wish)
    for part in ("train", "validation", "test"):
        assert getattr(found, part).tolist() == getattr(again, part).tolist() == sorted(getattr(found, part))


@pytest.mark.parametrize("labels", [SORTED, [0] * 150 + [1] * 50])
def test_random_keeps_the_balance_in_every_part_and_differs_by_seed(labels):
    found = split(labels, train_rows=120, test_rows=40, validation=20)
    for part in (found.train, found.validation, found.test):
        assert share(labels, part) == pytest.approx(share(labels, slice(None)), abs=1 / len(part))
    assert found.test.tolist() != split(labels, train_rows=120, test_rows=40, validation=20, seed=1).test.tolist()


def test_official_takes_the_parts_of_the_data():
    parts = ["test", "train", None, "train"] * 50
    found = split([0, 0, 0, 1] * 50, parts=parts, how="official")
    assert {parts[i] for i in [*found.train, *found.validation]} == {"train"} and {parts[i] for i in found.test} == {"test"}
    assert len(found.train) + len(found.validation) == 100 and len(found.test) == 50 and found.name == "official"


def test_official_takes_the_validation_rows_of_the_data_unless_a_number_is_wished():
    parts = ["test", "train", "validation", "train"] * 50
    labels = [0, 1, 0, 0, 1, 0, 1, 0] * 25
    found = split(labels, parts=parts, how="official")
    assert found.validation.tolist() == [i for i, p in enumerate(parts) if p == "validation"]
    assert found.train.tolist() == [i for i, p in enumerate(parts) if p == "train"]
    wished = split(labels, parts=parts, how="official", validation=10)
    assert len(split(labels, parts=parts, how="official", validation=0).validation) == 0
    assert len(wished.validation) == 10 and {parts[i] for i in [*wished.validation, *wished.train]} == {"train"}


def test_without_a_wish_a_tenth_tests_and_little_data_a_fifth():
    for rows, test, validation in ((200, 40, 16), (1500, 200, 100), (5000, 500, 225), (100_000, 10_000, 2000)):
        found = split([0, 1] * (rows // 2))
        assert (len(found.test), len(found.validation)) == (test, validation)


def test_validation_of_the_estimator_is_balanced_and_from_its_rows():
    y = np.array(SORTED)
    rows = np.arange(50, 150)
    train, validation = validation_split(y, rows, 0.2, 3)
    assert sorted([*train, *validation]) == rows.tolist() and len(validation) == 20 and share(y, validation) == 0.5


@pytest.mark.parametrize(
    ("wish", "parts"),
    [
        ({"train_rows": 150, "test_rows": 60}, ["150 training and 60 test rows", "200 labelled rows", "Lower --train-rows or --test-rows"]),
        ({"how": "range", "train_rows": 1500}, ["1,500 training", "200 labelled rows", "Lower"]),
        ({"test_rows": 201}, ["201 test", "200 labelled rows", "Lower"]),
        ({"train_rows": -1}, ["200 labelled rows"]),
        ({"train_rows": 201, "second_file": 10}, ["201 training", "200 labelled rows", "Lower"]),
        ({"test_rows": 200}, ["No rows are left to train on", "--test-rows"]),
        ({"train_rows": 0}, ["No rows are left to train on"]),
        ({"validation": 160}, ["from the 160 training rows", "got 160"]),
        ({"validation": -0.5}, ["--validation", "got -0.5"]),
        ({"test_rows": 10, "second_file": 10}, ["--test excludes --test-rows"]),
        ({"how": "official"}, ["needs the data's own", "there are none", "--split random"]),
        ({"how": "official", "parts": ["train", "holdout"] * 100}, ["the parts here are holdout, train"]),
        ({"how": "official", "parts": ["train", "test"] * 100, "train_rows": 5}, ["own 100 and 100 rows", "leave out --train-rows"]),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_with_numbers(wish, parts):
    message = refused(MIXED, **wish)
    assert all(p in message for p in parts), message


@pytest.mark.parametrize("train", [50, 100, 150])
def test_a_sorted_file_split_by_range_is_refused(train):
    """Also where all labels are trained on and only the test rows have a single one."""
    message = refused(SORTED, how="range", train_rows=train, test_rows=40 if train > 50 else 20)
    assert "Is the file sorted by label? Use --split random" in message


def test_few_test_rows_of_one_label_are_chance():
    assert split([0, 1] * 20 + [1, 1], how="range", train_rows=40, test_rows=2).test.tolist() == [40, 41]
