"""AdamW whose sparse gradients move their own rows alone, and clipping over sparse and dense gradients together."""

import copy
import io
import math

import pytest
import torch
from torch import nn

from tenor.config import TrainConfig
from tenor.training.optimiser import RowAdamW, clip, make_optimiser

WORDS, WIDTH = 11, 5


class Net(nn.Module):
    """A table with sparse gradients, a dense weight, and one that never gets a gradient."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Parameter(torch.randn(WORDS, WIDTH))
        self.dense = nn.Parameter(torch.randn(3, 4))
        self.idle = nn.Parameter(torch.randn(2))


def words(step):
    """The words of a step's batch: some again, some never (0), some not for a long time."""
    return [[1, 4, 5], [4], [2, 4, 9, 10], [], [5, 10], [1, 2]][step % 6]


def give_gradients(net, step, dense=False):
    """The same numbers whatever the layout."""
    random = torch.Generator().manual_seed(100 + step)
    rows = torch.tensor(words(step), dtype=torch.int64)
    sparse = torch.sparse_coo_tensor(rows[None], torch.randn(len(rows), WIDTH, generator=random), (WORDS, WIDTH), is_coalesced=True, check_invariants=True)
    net.embedding.grad = sparse.to_dense() if dense else sparse
    net.dense.grad = torch.randn(3, 4, generator=random)


def settings(**changes):
    return {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-12, "weight_decay": 0.0} | changes


def test_rows_move_as_sparse_adams_and_the_rest_as_adamws():
    """SparseAdam adds epsilon before the bias correction, AdamW after it: here it is as good as none."""
    ours, rows, rest = Net(), Net(), Net()
    optimiser = RowAdamW([{"params": ours.parameters()}], lazy=True, **settings())
    by_torch = [torch.optim.SparseAdam([rows.embedding], lr=0.03, betas=(0.8, 0.95), eps=1e-12), torch.optim.AdamW([rest.dense, rest.idle], fused=True, **settings())]
    for step in range(12):
        for net in (ours, rows, rest):
            give_gradients(net, step)
        before = ours.embedding.detach().clone()
        optimiser.step()
        for other in by_torch:
            other.step()
        torch.testing.assert_close(ours.embedding, rows.embedding, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.dense, rest.dense, rtol=0, atol=0)
        still = [i for i in range(WORDS) if i not in words(step)]
        torch.testing.assert_close(ours.embedding[still], before[still], rtol=0, atol=0)
        assert ours.embedding.grad is None  # or the dense rule would see it next time
        torch.testing.assert_close(ours.idle, rest.idle, rtol=0, atol=0)


def test_decay_and_epsilon_follow_the_formula():
    """A number at a time, in Python's floats."""
    net, (lr, beta1, beta2, eps, decay) = Net(), (0.03, 0.8, 0.95, 0.3, 0.2)
    optimiser = RowAdamW([{"params": net.parameters()}], lazy=True, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    p, m, v = net.embedding.tolist(), [[0.0] * WIDTH for _ in range(WORDS)], [[0.0] * WIDTH for _ in range(WORDS)]
    for step in range(9):
        give_gradients(net, step)
        gradient = net.embedding.grad.to_dense().tolist()
        optimiser.step()
        for i in words(step):
            for j, g in enumerate(gradient[i]):
                m[i][j] = beta1 * m[i][j] + (1 - beta1) * g
                v[i][j] = beta2 * v[i][j] + (1 - beta2) * g * g
                p[i][j] -= lr * decay * p[i][j]
                p[i][j] -= lr * (m[i][j] / (1 - beta1 ** (step + 1))) / (math.sqrt(v[i][j] / (1 - beta2 ** (step + 1))) + eps)
        torch.testing.assert_close(net.embedding.detach(), torch.tensor(p), rtol=1e-5, atol=1e-6)
        for name, wanted in (("exp_avg", m), ("exp_avg_sq", v)):
            torch.testing.assert_close(optimiser.state[net.embedding][name], torch.tensor(wanted), rtol=1e-5, atol=1e-7)


def test_where_all_words_occur_rows_are_no_special_case():
    ours, torchs = Net(), Net()
    changes = {"weight_decay": 0.2, "eps": 0.1}
    optimiser, by_torch = RowAdamW([{"params": ours.parameters()}], lazy=True, **settings(**changes)), torch.optim.AdamW(torchs.parameters(), fused=True, **settings(**changes))
    for step in range(5):
        gradient = torch.randn(WORDS, WIDTH, generator=torch.Generator().manual_seed(step))
        ours.embedding.grad, torchs.embedding.grad = gradient.to_sparse(1).coalesce(), gradient
        optimiser.step()
        by_torch.step()
        torch.testing.assert_close(ours.embedding, torchs.embedding, rtol=1e-5, atol=1e-6)


def test_not_lazy_is_adamw_on_the_dense_gradient():
    ours, torchs = Net(), Net()
    optimiser, by_torch = RowAdamW([{"params": ours.parameters()}], lazy=False, **settings(weight_decay=0.1)), torch.optim.AdamW(torchs.parameters(), fused=True, **settings(weight_decay=0.1))
    for step in range(6):
        give_gradients(ours, step)
        give_gradients(torchs, step, dense=True)
        optimiser.step()
        by_torch.step()
        for a, b in zip(ours.parameters(), torchs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_each_group_has_its_own_rate():
    fast, slow = Net(), Net()
    for net, rate in ((fast, 0.04), (slow, 0.02)):
        give_gradients(net, 0)
        before = net.embedding.detach().clone()
        optimiser = RowAdamW([{"params": [net.embedding], "lr": rate}, {"params": [net.dense]}], lazy=True, **settings())
        optimiser.step()
        torch.testing.assert_close((net.embedding - before)[words(0)].abs(), torch.full((3, WIDTH), rate), rtol=1e-4, atol=0)  # Adam's first step: the rate itself
    torch.testing.assert_close(fast.dense, slow.dense, rtol=0, atol=0)


@pytest.mark.parametrize("lazy", [True, False])
def test_the_settings_say_which_rule_the_embedding_has(lazy):
    net = Net()
    optimiser = make_optimiser(net, TrainConfig(learning_rate=0.02, lazy_embedding=lazy, embedding_rate=0.5))
    assert [[p is net.embedding for p in g["params"]] for g in optimiser.param_groups] == [[False, False], [True]]
    for step in (0, 1):
        give_gradients(net, step)
        before = net.embedding.detach().clone()
        optimiser.step()
    moved = (net.embedding != before).any(1)
    assert moved.nonzero().flatten().tolist() == ([4] if lazy else [1, 4, 5])  # 1 and 5 were in the batch before


@pytest.mark.parametrize("lazy", [True, False])
def test_a_restored_state_goes_on_bit_for_bit(lazy):
    config = TrainConfig(learning_rate=0.02, weight_decay=0.1, lazy_embedding=lazy, embedding_rate=0.5)

    def run(net, optimiser, steps):
        for step in steps:
            give_gradients(net, step)
            clip(net, 1.5)
            optimiser.step()

    whole = Net()
    run(whole, make_optimiser(whole, config), range(9))
    first = Net()
    optimiser = make_optimiser(first, config)
    run(first, optimiser, range(4))
    written = io.BytesIO()
    torch.save(optimiser.state_dict(), written)
    second, third = copy.deepcopy(first), copy.deepcopy(first)
    restored = make_optimiser(second, config)
    written.seek(0)
    restored.load_state_dict(torch.load(written, weights_only=True))
    assert [g["share"] for g in restored.param_groups] == [1.0, 0.5]
    run(second, restored, range(4, 9))
    run(third, make_optimiser(third, config), range(4, 9))
    for name in ("embedding", "dense", "idle"):
        torch.testing.assert_close(getattr(second, name), getattr(whole, name), rtol=0, atol=0)
    assert not torch.equal(third.embedding, whole.embedding) and not torch.equal(third.dense, whole.dense)  # the state does count


@pytest.mark.parametrize("most", [0.0, 0.01, 3.0, 1e4])
def test_clipping_takes_sparse_and_dense_gradients_together(most):
    """Against torch on dense gradients; the sparse one names some rows several times."""
    ours, torchs = Net(), Net()
    random = torch.Generator().manual_seed(7)
    rows = torch.tensor([3, 8, 3, 0, 3])
    sparse = torch.sparse_coo_tensor(rows[None], torch.randn(5, WIDTH, generator=random), (WORDS, WIDTH), check_invariants=True)
    ours.embedding.grad, torchs.embedding.grad = sparse, sparse.to_dense()
    dense = torch.randn(3, 4, generator=random)
    ours.dense.grad, torchs.dense.grad = dense.clone(), dense.clone()
    clip(ours, most)
    norm = nn.utils.clip_grad_norm_(torchs.parameters(), most) if most else None
    assert norm is None or 3 < norm < 1e4
    assert ours.embedding.grad.is_coalesced() and ours.embedding.grad.indices().tolist() == [[0, 3, 8]]
    torch.testing.assert_close(ours.embedding.grad.to_dense(), torchs.embedding.grad)
    torch.testing.assert_close(ours.dense.grad, torchs.dense.grad)
    assert ours.idle.grad is None


def test_clipping_tells_a_gradient_that_is_no_number():
    net = Net()
    give_gradients(net, 0)
    net.dense.grad[1, 1] = math.nan
    clip(net, 1.0)
    assert net.dense.grad.isnan().all() and net.embedding.grad.values().isnan().all()


def test_clipping_without_gradients_does_nothing():
    clip(Net(), 1.0)
