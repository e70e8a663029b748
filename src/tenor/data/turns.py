"""A conversation to prompts and replies: neighbouring turns of a plain file, or two columns of a table."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from tenor.data import files
from tenor.data.aligned import Pair, Pairs, read_pairs
from tenor.data.plain import PLAIN, read_plain_or_texts
from tenor.data.text import clean
from tenor.errors import TenorError

_BLANK = re.compile(r"\n[^\S\n]*\n")
_SPEAKER = re.compile(r"[^\n:]{1,40}:\s*(?:\n|$)")  # a line of its own above a turn
_CHOOSE = 0.1  # of a conversation, its end: a turn is the reply of one pair and the prompt of the next, so pairs drawn at random would be known by half


def read_turns(path: Path, prompt: str | None, reply: str | None, skip_bad: bool = False) -> Pairs:
    """Prompts and their replies: the named columns of a table; or of a plain file each turn and the one after it, turns parted by blank lines, with or without a speaker's name
    and a colon on a line above. The last tenth of a plain file is of part "val".

    Raises:
        TenorError: fewer than two turns, or as read_pairs.
    """
    files.check_exists(path)
    if prompt is not None or reply is not None or not path.is_file() or files.plain_entry(path).path.suffix.lower() not in PLAIN:
        return read_pairs(path, prompt, reply, skip_bad)
    source = read_plain_or_texts(path, None, skip_bad)
    blocks = [_SPEAKER.sub("", block.strip(), count=1) if _SPEAKER.match(block.strip()) else block for block in _BLANK.split(source.texts[0])]
    turns = [t for t in map(clean, blocks) if t]
    if len(turns) < 2:
        raise TenorError(f"A conversation has turns, parted by blank lines; {source.name} has {len(turns)}. Name two columns with --text and --label, or put a blank line after each turn.")
    edge = len(turns) - 1 - round(_CHOOSE * (len(turns) - 1))
    pairs = [Pair(a, b, "val" if i >= edge else "train") for i, (a, b) in enumerate(pairwise(turns))]
    return Pairs(source.name, pairs, [*source.notes, f"{len(turns):,} turns."])
