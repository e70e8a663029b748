"""Models that chat: what is a turn, that replies differ and do not loop, and what is measured."""

import io
import json
import math

import numpy as np
import pytest
import torch

from tenor import TenorError, store
from tenor.cli.chatting import chat
from tenor.data.aligned import Pair
from tenor.data.turns import read_turns
from tenor.jobs.chat import KIND, Replies
from tenor.jobs.kinds import Parts, made_of
from tenor.models.chat import _said_after, distinct
from tenor.models.generate import Sampling
from tenor.pipelines.conversation import Conversation
from tenor.training.events import Events
from tenor.training.presets_chat import chat_preset
from tenor.training.translate import fit, learn

pytestmark = pytest.mark.usefixtures("one_thread")

PLAY = "ROMEO:\nGood morrow,\ncousin.\n\nBENVOLIO:\nGood morrow!\n \nROMEO:\nIs the day so young?\n\nNay.\n"
SMALL = {"hidden": 16, "embedding": 16, "vocab": 300, "epochs": 15, "batch_size": 8, "learning_rate": 0.01, "precision": "float32", "max_tokens": 12}


@pytest.fixture(scope="module")
def made() -> Conversation:
    pairs = [Pair(f"how are you {c}", f"I am very {c} {c} today", None) for c in "abcdefgh"] * 6
    found, _ = learn(Conversation, pairs, pairs[:8], chat_preset(**SMALL))
    found.count(pairs)
    return found


def test_neighbouring_turns_are_prompt_and_reply(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text("\n".join([PLAY] * 5))
    read = read_turns(path, None, None)
    assert [p[:2] for p in read.pairs[:3]] == [("Good morrow, cousin.", "Good morrow!"), ("Good morrow!", "Is the day so young?"), ("Is the day so young?", "Nay.")]
    assert [p.part for p in read.pairs].count("val") == 2 and read.pairs[-1].part == "val"
    path.write_text("one turn alone\n")
    with pytest.raises(TenorError, match=r"parted by blank lines; .* has 1"):
        read_turns(path, None, None)
    table = tmp_path / "pairs.tsv"
    table.write_text("ask\tsay\na b\tc d\n")
    assert read_turns(table, "ask", "say").pairs == [Pair("a b", "c d", None)]
    with pytest.raises(TenorError, match="--text FROM --label INTO"):
        read_turns(table, None, None)


def test_replies_follow_the_seed_and_are_what_streams(made):
    wild = Sampling(temperature=1.5, seed=3)
    once = "".join(made.stream("how are you a", wild))
    assert once == "".join(made.stream("how are you a", wild)) == made.replies(["how are you a"], wild)[0]
    assert len({"".join(made.stream("how are you a", Sampling(temperature=1.5, seed=s))) for s in range(6)}) > 3
    assert made.replies(["", "how are you b"], wild)[0] == ""
    with pytest.raises(TenorError, match="this one is empty"):
        made.stream(" ")


def test_other_prompts_change_no_reply(made):
    wild = Sampling(temperature=1.5, seed=3)
    prompts = ["how are you a", "you", "how are you b and how are you c", "", "how are you d", "you"]
    together = made.replies(prompts, wild)
    assert together == [made.replies([p], wild)[0] for p in prompts] and together[1] == "".join(made.stream("you", wild))
    assert len(set(together)) > 3


def test_the_epoch_of_the_lowest_loss_is_kept():
    """By accuracy, as of a translator, it would be the first."""

    class Worse(Events):
        def epoch(self, entry):
            entry.update(validation_accuracy=2.0, validation_loss=1e9)  # of an epoch that is over: no later one is as accurate, each has a lower loss

    given = [Pair(f"how are you {c}", f"I am {c}", None) for c in "abcdefgh"] * 4
    parts, small = Parts(given, given[:8], [], []), chat_preset(**SMALL | {"epochs": 2})
    assert KIND.fit(parts, small, Worse(), None)[1].best_epoch == 2
    assert fit(given, given[:8], small, Worse())[1].best_epoch == 1


def test_no_three_tokens_are_said_twice(made):
    """Of a network that says one token for ever."""
    again = Conversation(made.source, made.target, made.text, made.model, precision="float32")
    with torch.no_grad():
        again.network.bias[7] = 50
    said = made.target.encode(["".join(again.stream("how", Sampling(temperature=0)))])[0][0].tolist()
    assert len(said) > 3 and len({*zip(said, said[1:], said[2:], strict=False)}) == len(said) - 2
    assert _said_after([4, 5, 6, 4, 5]) == {6} and _said_after([4, 5, 6]) == set() == _said_after([4])


def test_predict_replies(made):
    answers = Replies(made).answers(["how are you a", ""])
    assert answers[0]["reply"] and answers[1] == {"reply": ""}


def test_lines_that_are_not_utf_8_are_read(tmp_path, made, monkeypatch, capsys):
    store.write(tmp_path / "c", made.stored({}, {}, []), {})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("how are you é\r\n".encode("latin-1") + "\nhow é".encode()), "utf-8"))
    chat(str(tmp_path / "c"), seed=1, as_json=True)
    assert [json.loads(line)["prompt"] for line in capsys.readouterr().out.splitlines()] == ["how are you é", "how é"]


def test_what_is_measured(made):
    assert distinct(["a b a b", "a"]) == (2 / 5, 2 / 3) and distinct([]) == (0, 0)
    pairs = [Pair("how are you a", "I am very a", None)]
    result = made.measure(pairs)
    ids = [*made.target.encode(["I am very a"])[0][0].tolist(), 2]
    shares = (made.counts + 1) / (made.counts + 1).sum()
    assert result["unigram_perplexity"] == pytest.approx(math.exp(-np.log(shares[ids]).mean()))
    assert 1 < result["perplexity"] < result["unigram_perplexity"] and 0 < result["distinct_1"] <= 1


def test_commands(tmp_path, tenor):
    """Each command is a process of its own and takes seconds: four here."""
    (tmp_path / "play.txt").write_text("".join(f"ROMEO:\nMy name is {i}.\n\n" for i in range(48)))
    done = tenor("train", "play.txt", "--task", "chat", "--hidden", 16, "--embedding", 16, "--epochs", 1, "--vocab", 300, "--out", "c")
    assert done.code == 0 and "distinct-1" in done.out and "turns" in done.out, done.err
    first = tenor("chat", "-m", "c", "--prompt", "Good morrow!", "--seed", 1).out
    assert first == tenor("chat", "-m", "c", "--seed", 1, stdin="Good morrow!\n").out and first.endswith("\n")
    assert tenor("evaluate", "play.txt", "-m", "c", "--part", "val", "--json").json["pairs"] == 5
    with pytest.raises(TenorError, match=r"This model chats\. Use tenor chat -m MODEL"):
        made_of(store.read(tmp_path / "c"), "translate")
