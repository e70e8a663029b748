"""The parts of a source's own split, by whatever names: train, test (test2016, ...), validation."""

from __future__ import annotations

from typing import Any

_USUAL = {"training": "train", "testing": "test", "val": "validation", "valid": "validation", "dev": "validation"}


def part_of(value: Any) -> str | None:
    """What stands in a split column, or the name of a part, in small letters and by the usual name; None if it is empty."""
    name = str(value or "").strip().casefold()
    return _USUAL.get(name, name) or None


def is_test(part: str | None) -> bool:
    """Of what `part_of` gave: is nothing learnt from it? Data may have several test parts (test2016, test2017, ...)."""
    return (part or "").startswith("test")
