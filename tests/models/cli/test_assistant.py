"""The assistant's command line: the results of an earlier run."""

import math
from types import SimpleNamespace

import pytest

from models.cli.assistant import check_results

SFT = {"exact": 0.5, "preferred": None, "kl": 0.1, "seconds": 3.0}


def stages(tmp_path, results):
    return SimpleNamespace(results=results, folder=tmp_path, done=results.__contains__)


def test_results_that_are_not_whole_yet_are_taken(tmp_path):
    check_results(stages(tmp_path, {"seed": 0, "sft": SFT, "unfinished": {"stage": "dpo"}}))


@pytest.mark.parametrize(
    "found",
    [{}, [], "sft", 3, None, SFT | {"seconds": "a"}, SFT | {"exact": []}, SFT | {"kl": {}},
     SFT | {"seconds": [math.nan]}],
)  # fmt: skip
def test_results_of_another_kind_are_refused(found, tmp_path):
    with pytest.raises(ValueError, match=r"results.json does not hold the results"):
        check_results(stages(tmp_path, {"sft": found}))
