"""Padding and unpadding: which token stands where, and what its gradient is."""

import pytest
import torch

from tenor.cells.places import Places, places_of


@pytest.mark.parametrize("sizes", [[3, 2, 1, 1], [3, 3]])
def test_padding_gets_no_gradient_and_unpad_undoes_pad(sizes):
    x = torch.randn(sum(sizes), 3, requires_grad=True)
    places = Places(torch.tensor(sizes))
    for direction in (0, 1):
        assert torch.equal(places.unpad(places.pad(x, direction), direction), x)
        (gradient,) = torch.autograd.grad(places.pad(x, direction).sum(), x)  # each row once, though padding copies some
        assert torch.equal(gradient, torch.ones_like(x))


def test_the_second_direction_begins_at_each_rows_own_last_token():
    places = Places(torch.tensor([3, 2, 1]))  # rows of 3, 2 and 1 tokens; packed: a0 b0 c0 a1 b1 a2
    x = torch.arange(6.0)[:, None]
    assert places.pad(x, 1)[:, :, 0][places.live].tolist() == [5.0, 4.0, 2.0, 3.0, 1.0, 0.0]
    assert places.last.tolist() == [5, 4, 2] and places.rows.tolist() == [0, 1, 2, 0, 1, 0]


def test_places_are_made_once_and_serve_a_backward_pass_after_inference():
    sizes = torch.tensor([2, 2, 1])
    with torch.inference_mode():
        first = places_of(sizes)
    assert places_of(sizes.clone()) is first
    x = torch.randn(5, 2, requires_grad=True)
    first.unpad(first.pad(x)).sum().backward()
    assert places_of(torch.tensor([2, 1, 1])) is not first
