"""A thousand short reviews: `reviews-en` fine-tuned, `base` from nothing and the linear baseline, cross-validated on the sample; its test rows are not read.

    python benchmarks/sample.py    5 minutes on a core

Writes benchmarks/results/sample.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold

from reviews import RESULTS, machine
from tenor import Classifier
from tenor.jobs.prepare import Order, prepare
from tenor.results.baseline import baseline
from tenor.training.presets import preset

DIVISIONS = (0, 1)  # seeds of the folds
STARTS = {"from_reviews_en": "reviews-en", "from_nothing": None}


def main() -> None:
    here = machine()
    data = prepare(Order("sample", Path("unused"), lambda _rows, _start=None: preset("base")))
    rows = np.sort(np.concatenate([data.split.train, data.split.validation]))
    texts, targets = np.array(data.texts(rows), object), data.targets[rows]
    found: dict[str, Any] = {name: [] for name in (*STARTS, "linear")}
    for division in DIVISIONS:
        right: dict[str, list[float]] = {name: [] for name in found}
        for learn, tried in StratifiedKFold(5, shuffle=True, random_state=division).split(texts, targets):
            for name, start in STARTS.items():
                right[name].append(Classifier(start=start).fit(texts[learn], targets[learn]).score(texts[tried], targets[tried]))
            right["linear"].append(baseline(list(texts[learn]), targets[learn], list(texts[tried]), targets[tried])[0]["accuracy"])
        for name, each in right.items():
            found[name].append(round(float(np.mean(each)), 4))
        print(json.dumps({"division": division} | {name: values[-1] for name, values in found.items()}), flush=True)
    (RESULTS / "sample.json").write_text(json.dumps({"made_with": "python benchmarks/sample.py", "machine": here, "rows": len(rows), "folds": 5, "accuracy": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
