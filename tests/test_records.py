"""benchmarks/language.py: which trainings are asked for, and that nothing of another commit is told as this one's."""

from pathlib import Path

import pytest


@pytest.fixture
def language(module_of_benchmarks):
    return module_of_benchmarks("language")


def test_some_of_the_trainings_make_a_result_of_their_own(language):
    assert [(p.result, p.folder) for p in language.parts([])] == [("language_article", "article"), *[("language_official", f"official-{s}") for s in (0, 1, 2)]]
    two = language.parts(["official", "2", "0"])
    assert [(p.result, p.folder) for p in two] == [("language_official_2_0", "official-2"), ("language_official_2_0", "official-0")]
    assert ["--no-baseline" in p.options for p in two] == [False, True]
    for asked, said in ((["box"], "got box"), (["article", "0"], "got article 0"), (["official", "1", "1"], "each once")):
        with pytest.raises(SystemExit, match=said):
            language.parts(asked)


def test_what_was_stopped_goes_on_by_the_commit_that_began_it(language, monkeypatch, tmp_path):
    given: list[tuple[Path, tuple[object, ...]]] = []
    monkeypatch.setattr(language, "ROOT", tmp_path)
    monkeypatch.setattr(language, "training", lambda out, *options, threads: given.append((out, options)) or {"wall_seconds": 7.0, "threads_given": threads})
    (part,) = language.parts(["article"])
    begun = tmp_path / "runs" / "language" / "abc" / "article"
    (begun.parent / "article.training").mkdir(parents=True)
    found = [language.trained(part, 1, commit) for commit in ("abc", "def")]
    assert [(f["went_on"], f["wall_seconds"], f["part"]) for f in found] == [(True, None, "language_article"), (False, 7.0, "language_article")]
    assert [out for out, _ in given] == [begun, tmp_path / "runs" / "language" / "def" / "article"] and all("--resume" in options for _, options in given)
