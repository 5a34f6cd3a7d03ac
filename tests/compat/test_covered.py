"""The table of what is covered is current; the stored names are PyTorch's."""

import covered
import pytest

import microtensor as mt


def test_the_table_and_the_list_are_current():
    readme = covered.README.read_text("utf-8")
    assert covered.renewed(readme) == readme, "run: python tests/covered.py"
    assert covered.LIST.read_text("utf-8") == covered.listed(), "run: python tests/covered.py"


def test_every_name_is_counted_once():
    for space, names in covered.stored()[1].items():
        there, missing, elsewhere = covered.sorted_out(space, names)
        assert (
            sorted([*there, *missing, *sum(elsewhere.values(), [])]) == names == sorted(set(names))
        )


@pytest.mark.parametrize(
    "place", [mt, mt.nn, mt.nn.functional, mt.optim, mt.optim.lr_scheduler, mt.utils.data,
              mt.linalg, mt.autograd, mt.nn.init, mt.nn.utils, mt.cuda, mt.amp],
    ids=lambda place: place.__name__,
)  # fmt: skip
def test_what_is_missing_says_its_name(place):
    with pytest.raises(AttributeError, match=r"has no 'Conv9d'.*PyTorch"):
        place.Conv9d  # noqa: B018
