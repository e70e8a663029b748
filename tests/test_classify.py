"""The network: what it can learn, and that neighbours and padding never change an answer."""

import copy

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from conftest import fit, order_texts, small
from tenor.cells import native
from tenor.cells.reader import lacks_8_bits
from tenor.config import ModelConfig
from tenor.data.batches import Batch, pack
from tenor.data.text import Ragged
from tenor.errors import TenorError
from tenor.models.classify import TextClassifier, probabilities
from tenor.models.encoder import Encoder, keras_init
from tenor.training.optimiser import RowAdamW
from tenor.training.presets import preset


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_learns_the_order_of_words_where_a_bag_of_word_pairs_cannot(cell):
    texts, targets = order_texts(1200, 3)
    tests, wanted = order_texts(300, 4)
    settings = small(cell=cell, hidden=24, epochs=8, learning_rate=0.01, embedding_dropout=0.0, dropout=0.0)
    pipeline, outcome = fit(["neg", "pos"], texts, targets, texts[:50], targets[:50], settings)
    right = (pipeline.probabilities(tests)[0].argmax(1) == wanted).mean()
    bag = CountVectorizer(ngram_range=(1, 2)).fit(texts)
    linear = LogisticRegression(max_iter=1000).fit(bag.transform(texts), targets)
    assert linear.score(bag.transform(tests), wanted) < 0.7
    assert right > 0.95, outcome.history


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged(np.array([i for r in rows for i in r], np.int32), np.concatenate([[0], np.cumsum([len(r) for r in rows])]))


@pytest.mark.parametrize("pooling", ["last", "max_mean"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_answer_does_not_depend_on_the_batch(cell, pooling):
    rng = np.random.default_rng(5)
    rows = [rng.integers(2, 50, n).tolist() for n in (40, 0, 1, 7, 23, 2, 40, 11)]
    torch.manual_seed(1)
    net = TextClassifier(50, 3, ModelConfig(cell=cell, hidden=9, embedding=7, layers=2, pooling=pooling))
    together = probabilities(net, ragged(rows), batch_size=8)
    one_by_one = np.concatenate([probabilities(net, ragged([r])) for r in rows])
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)
    assert np.ptp(together, axis=0).max() > 1e-3  # rows do differ
    np.testing.assert_allclose(together.sum(1), 1)


def test_base_network_is_what_torch_nn_would_compute():
    """Embedding, bidirectional LSTM, max and mean over a row's own tokens, dense, written with torch.nn, a row at a time."""
    torch.manual_seed(2)
    net = TextClassifier(30, 2, ModelConfig(hidden=6, embedding=5)).eval()
    rows = [[4, 9, 2, 2, 17], [8], [3, 29, 5]]
    lstm = torch.nn.LSTM(5, 6, bidirectional=True)
    lstm.load_state_dict(net.encoder.recurrent.state_dict())
    for row, got in zip(rows, probabilities(net, ragged(rows)), strict=True):
        out = lstm(net.encoder.embedding(torch.tensor(row)))[0]
        logit = net.output(torch.cat([out.max(0).values, out.mean(0)]))
        assert got[1] == pytest.approx(torch.sigmoid(logit).item(), abs=1e-6)


def test_article_preset_is_the_tutorial_network():
    """Padded in front to 200, read with its padding, last states of both directions, one sigmoid."""
    article = preset("article")
    text, model, train = article.text, article.model, article.train
    assert (text.max_tokens, text.pad_to_max, text.keep, model.bidirectional, model.layers, model.pooling) == (200, True, "tail", True, 1, "last")
    assert (train.epochs, train.schedule, train.learning_rate, train.weight_decay, model.dropout) == (4, "constant", 1e-3, 0.0, 0.0)
    torch.manual_seed(3)
    net = TextClassifier(40, 2, model).eval()
    row = [7, 8, 9]
    padded = torch.tensor([0] * 197 + row)
    lstm = torch.nn.LSTM(model.embedding, model.hidden, bidirectional=True)
    lstm.load_state_dict(net.encoder.recurrent.state_dict())
    _, (final, _) = lstm(net.encoder.embedding(padded))
    wanted = torch.sigmoid(net.output(torch.cat([final[0], final[1]]))).item()
    assert probabilities(net, ragged([row]), pad_to=200)[0, 1] == pytest.approx(wanted, abs=1e-6)


def test_keras_init():
    encoder = Encoder(100, ModelConfig(hidden=8, embedding=6, init="keras"))
    keras_init(encoder)
    weights = encoder.recurrent.state_dict()
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16  # i, f, g, o: the forget gate is 1
    torch.testing.assert_close(weights["weight_hh_l0"].T @ weights["weight_hh_l0"], torch.eye(8), atol=1e-5, rtol=0)
    assert encoder.embedding.weight.abs().max() <= 0.05


def test_loss_is_the_right_one_for_two_and_for_more_labels():
    rows = ragged([[2, 3], [4, 5, 6], [7]])
    for labels in (2, 4):
        torch.manual_seed(4)
        net = TextClassifier(10, labels, ModelConfig(hidden=3, embedding=3)).eval()
        targets = torch.tensor([1, 0, labels - 1])
        scores = net.scores(pack(rows, np.arange(3)), targets)
        shares = probabilities(net, rows)
        picked = shares[np.arange(3), targets.numpy()]
        assert scores.loss.item() == pytest.approx(-np.log(picked).mean(), abs=1e-6)
        assert (scores.right, scores.rows, scores.tokens) == ((shares.argmax(1) == targets.numpy()).sum(), 3, 6)


NATIVE = pytest.mark.skipif(not native.available(), reason="the engine is not built")


def _batch(vocab: int) -> Batch:
    ids = Ragged(np.random.default_rng(3).integers(0, vocab, 30).astype(np.int32), np.array([0, 9, 10, 27, 30]))
    return pack(ids, np.array([2, 0, 3, 1]), 0)


@NATIVE
@pytest.mark.parametrize("pooling", ["last", "max_mean"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_reading_gives_what_training_computes_and_follows_the_weights(cell, pooling):
    torch.manual_seed(5)
    encoder = Encoder(40, ModelConfig(cell=cell, hidden=19, embedding=7, pooling=pooling))
    layer, tokens = encoder.recurrent, _batch(40).tokens
    changes = [
        lambda: None,
        lambda: encoder.load_state_dict({k: v * 1.5 for k, v in encoder.state_dict().items()}),
        lambda: RowAdamW([{"params": encoder.parameters()}], lazy=True, lr=0.1).step(),
        lambda: [p.data.mul_(0.9) for p in encoder.train().parameters()],
        lambda: setattr(layer, "weight_hh_l0", torch.nn.Parameter(layer.weight_hh_l0.detach() * 0.5)),
        lambda: [setattr(p, "data", p.data * 2) for p in encoder.parameters()],
    ]
    for change in changes:
        for p in encoder.parameters():
            p.grad = torch.ones_like(p)
        change()
        assert change is changes[0] or encoder._reader_now() is None
        encoder.eval() if encoder.training else None
        for _ in range(2):
            with torch.no_grad():
                read = encoder(tokens)
            torch.testing.assert_close(read, encoder(tokens).detach(), atol=2e-6, rtol=1e-5)
            encoder.freeze()
            assert encoder._reader_now() is not None
    with torch.inference_mode():
        twin = copy.deepcopy(encoder)  # counts no versions
        assert twin._reader_now() is None and twin.freeze()._reader_now() is not None
        torch.testing.assert_close(twin(tokens), encoder(tokens), atol=2e-6, rtol=1e-5)
    assert encoder.freeze()._reader is encoder.freeze()._reader
    assert encoder.eval()._reader_now() is None


@NATIVE
def test_no_table_larger_than_it_is_worth(monkeypatch):
    encoder = Encoder(40, ModelConfig(hidden=16, embedding=7))
    with torch.no_grad():
        read = encoder.freeze()(_batch(40).tokens)
        assert encoder._reader is not None
        monkeypatch.setattr("tenor.models.encoder.MOST_TABLE_BYTES", 40 * 2 * 4 * 16 * 4 - 1)
        torch.testing.assert_close(encoder.train().freeze()(_batch(40).tokens), read, atol=2e-6, rtol=1e-5)
        assert encoder._reader is None


def test_8_bits_read_alone():
    config = ModelConfig(hidden=32, embedding=16)
    if lacks_8_bits("lstm"):
        with pytest.raises(TenorError, match="Precision int8 cannot be had here"):
            Encoder(40, config, torch.int8)
        return
    encoder = Encoder(40, config, torch.int8).freeze()
    with torch.no_grad():
        read = encoder(_batch(40).tokens)
    difference = (read - encoder(_batch(40).tokens).detach()).abs().max()
    assert 0 < difference < 0.01
    with pytest.raises(TenorError, match="one layer"):
        Encoder(40, ModelConfig(layers=2, hidden=32, embedding=16), torch.int8)


@pytest.mark.parametrize("wish", ["torch", "reference"])
def test_8_bits_are_refused_where_another_kernel_is_forced(monkeypatch, wish):
    if lacks_8_bits("lstm"):
        pytest.skip("no 8-bit products here")
    monkeypatch.setenv("TENOR_KERNEL", wish)
    with pytest.raises(TenorError, match=f"int8 needs the native kernel, and TENOR_KERNEL={wish} forces another"):
        Encoder(40, ModelConfig(layers=1, hidden=32, embedding=16), torch.int8)


def test_8_bits_are_refused_where_the_table_is_too_large(monkeypatch):
    if lacks_8_bits("lstm"):
        pytest.skip("no 8-bit products here")
    monkeypatch.setattr("tenor.models.encoder.MOST_TABLE_BYTES", 1000)
    with pytest.raises(TenorError, match="int8 looks words up in a table"):
        Encoder(40, ModelConfig(layers=1, hidden=32, embedding=16), torch.int8).freeze()
