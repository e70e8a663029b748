"""Dropout of whole activations: how much it drops, what it leaves, and its gradient."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tenor.cells import LSTM
from tenor.cells.dropout import dropout


@settings(max_examples=30)
@given(share=st.sampled_from([0.001, 0.1, 0.3, 0.5, 0.77, 0.999]), rows=st.integers(1, 9), columns=st.integers(1, 7), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]), seed=st.integers(0, 99))
def test_what_is_kept_is_scaled_and_its_gradient_likewise(share, rows, columns, dtype, seed):
    x = torch.randn(rows, columns, 3, generator=torch.Generator().manual_seed(seed)).to(dtype).add_(9).requires_grad_()
    torch.manual_seed(seed)
    out = dropout(x, share, training=True)
    given_back = torch.randn_like(x)
    out.backward(given_back)
    kept = out.detach() != 0
    scale = 65_536 / (65_536 - round(share * 65_536))
    assert out.dtype == dtype
    torch.testing.assert_close(out.detach(), x.detach() * kept * scale)
    torch.testing.assert_close(x.grad, given_back * kept * scale)
    torch.manual_seed(seed)
    assert torch.equal(out, dropout(x, share, training=True))  # torch's seed decides
    assert torch.equal(dropout(x, share, training=False), x) and torch.equal(dropout(x, 0.0, training=True), x)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_each_element_is_dropped_by_itself_with_the_share(share):
    torch.manual_seed(1)
    kept = dropout(torch.ones(4000, 250), share, training=True) != 0
    spread = (share * (1 - share)) ** 0.5  # of one element; five standard errors are the limit of chance, six of each row and column
    assert abs(kept.double().mean() - (1 - share)) < 5 * spread / kept.numel() ** 0.5
    for way in (0, 1):  # no row and no column is another's
        assert (abs(kept.double().mean(way) - (1 - share)) < 6 * spread / kept.shape[way] ** 0.5).all()
    centred = (kept.double() - (1 - share)).flatten()
    for far in (1, 2, 3, 4, 250):  # nor do neighbours go together: four share a draw of the generator
        assert abs((centred[far:] * centred[:-far]).mean()) < 5 * spread**2 / len(centred) ** 0.5


def test_another_device_is_torchs_affair():
    assert dropout(torch.ones(3, 4, device="meta"), 0.5, training=True).device.type == "meta"


@pytest.mark.parametrize("way", ["compile", "export", "trace", "vmap"])
def test_what_takes_a_layer_apart_takes_its_dropout_too(way, monkeypatch):
    monkeypatch.setenv("TENOR_KERNEL", "reference")
    layer, x = LSTM(5, 6, 2, dropout=0.5), torch.randn(4, 3, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its tracers
        if way == "compile":
            out = torch.compile(layer, fullgraph=True, backend="eager")(x)[0]
        elif way == "export":
            out = torch.export.export(layer, (x,)).module()(x)[0]
        elif way == "trace":
            out = torch.jit.trace(layer, (x,), check_trace=False)(x)[0]
        else:
            out = torch.vmap(lambda each: layer(each)[0], randomness="different")(x.expand(2, 4, 3, 5))[0]
    assert out.shape == (4, 3, 6) and not torch.equal(out, layer.eval()(x)[0])
