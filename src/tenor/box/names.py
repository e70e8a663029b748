"""The models that ship inside the package, by their names."""

from __future__ import annotations

from pathlib import Path

from tenor.errors import TenorError, nearest

REVIEWS = "reviews-en"
BOX = {REVIEWS: "English reviews, negative or positive"}  # name: what it knows; each has a folder of its name beside this file
FOLDER = Path(__file__).parent


def model_folder(model: str | Path) -> Path:
    """A name of the box to its folder; anything else is a path (a folder called reviews-en is ./reviews-en, or a Path).

    Raises:
        TenorError: no name at all, this install lacks the model, or nothing is at a path that looks like a name mistyped.
    """
    if not isinstance(model, (str, Path)):
        raise TenorError(f"A model is named by its folder or as one of the box ({', '.join(BOX)}); got {model!r} of type {type(model).__name__}.")
    if model in BOX:
        folder = FOLDER / str(model)
        if not folder.is_dir():
            raise TenorError(f"The model {model} is not in this install of Tenor, which has no model of its own. Name a model folder; one is made with: tenor train SOURCE --out my-model (or {model} itself with: make box, in a checkout of Tenor).")
        return folder
    path = Path(model).expanduser()
    if not path.exists() and path.name == str(model) and (guess := nearest(str(model), BOX)) != ".":
        raise TenorError(f"{model} does not exist{guess} A model of your own is made with: tenor train SOURCE --out {model}")
    return path


def present() -> dict[str, Path | None]:
    """Where each model of the box lies; None: not in this install."""
    return {name: FOLDER / name if (FOLDER / name).is_dir() else None for name in BOX}
