"""The number format that auto takes is one that what runs can multiply."""

import pytest
import torch

from tenor.cells import native
from tenor.cells.hardware import choose_dtype, describe
from tenor.config import ModelConfig

CPU = torch.device("cpu")


@pytest.mark.skipif(not native.available(), reason=native.why_not())
@pytest.mark.parametrize("cpu", [True, False])
def test_the_engine_goes_by_its_instruction_set(monkeypatch, cpu):
    monkeypatch.delenv("TENOR_KERNEL", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: cpu)
    for isa in native.isas():
        monkeypatch.setenv("TENOR_ISA", isa)
        wanted = torch.bfloat16 if isa in ("amx", "avx512_bf16") else torch.float32
        assert {choose_dtype("auto", CPU, ModelConfig(cell=cell, hidden=32)) for cell in ("lstm", "gru", "rnn")} == {wanted}, isa


@pytest.mark.skipif(not native.available(), reason=native.why_not())
@pytest.mark.skipif(torch.cuda.is_available(), reason="auto takes the GPU")
def test_the_machine_is_described_by_what_a_training_takes(monkeypatch):
    monkeypatch.delenv("TENOR_KERNEL", raising=False)
    for isa in native.isas():
        monkeypatch.setenv("TENOR_ISA", isa)
        for label, cell in (("LSTM", "lstm"), ("GRU", "gru"), ("RNN (tanh)", "rnn")):
            wanted = choose_dtype("auto", CPU, ModelConfig(cell=cell, hidden=128))
            assert f", {isa}, {str(wanted).removeprefix('torch.')}: " in describe()[label]


def test_torch_goes_by_the_cpu(monkeypatch):
    monkeypatch.setenv("TENOR_KERNEL", "torch")
    monkeypatch.setenv("TENOR_ISA", "portable")
    cells = [("lstm", 32), ("gru", 32), ("gru", 128)]
    for cpu, wanted in ((True, [torch.bfloat16, torch.float32, torch.bfloat16]), (False, [torch.float32] * 3)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda cpu=cpu: cpu)
        assert [choose_dtype("auto", CPU, ModelConfig(cell=cell, hidden=hidden)) for cell, hidden in cells] == wanted
