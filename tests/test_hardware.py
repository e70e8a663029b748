"""The number format that auto takes is one that what runs can multiply."""

import os
import subprocess
import sys

import pytest
import torch

from recurrent import ISAS
from tenor.cells import native
from tenor.cells.hardware import choose_dtype, describe
from tenor.config import ModelConfig

CPU = torch.device("cpu")


@pytest.mark.skipif(not native.available(), reason=native.why_not())
@pytest.mark.parametrize("cpu", [True, False])
def test_the_engine_goes_by_its_instruction_set(monkeypatch, cpu):
    monkeypatch.delenv("TENOR_KERNEL", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: cpu)
    for isa in ISAS:
        monkeypatch.setenv("TENOR_ISA", isa)
        wanted = torch.bfloat16 if isa in ("amx", "avx512_bf16") else torch.float32
        assert {choose_dtype("auto", CPU, ModelConfig(cell=cell, hidden=32)) for cell in ("lstm", "gru", "rnn")} == {wanted}, isa


@pytest.mark.skipif(not native.available(), reason=native.why_not())
@pytest.mark.skipif(torch.cuda.is_available(), reason="auto takes the GPU")
def test_the_machine_is_described_by_what_a_training_takes(monkeypatch):
    monkeypatch.delenv("TENOR_KERNEL", raising=False)
    for isa in ISAS:
        monkeypatch.setenv("TENOR_ISA", isa)
        for label, cell in (("LSTM", "lstm"), ("GRU", "gru"), ("RNN (tanh)", "rnn")):
            wanted = choose_dtype("auto", CPU, ModelConfig(cell=cell, hidden=128))
            assert f", {isa}, {str(wanted).removeprefix('torch.')}: " in describe()[label]


@pytest.mark.skipif("amx" not in ISAS, reason="this CPU has no AMX")
def test_the_tile_registers_are_asked_for_where_they_are_used_and_only_there():
    """Linux tells which registers it lets a process use (ARCH_GET_XCOMP_PERM); AMX's are number 18."""
    program = (
        "import ctypes, os, torch\n"
        "from tenor.cells import LSTM, hardware\n"
        "def granted():\n word = ctypes.c_ulong()\n ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(word))\n return word.value >> 18 & 1\n"
        "from tenor.cells.kernels import check_environment\n"
        "os.environ['TENOR_KERNEL'] = 'torch'\ncheck_environment()\nprint('torch', granted())\n"
        "os.environ['TENOR_KERNEL'] = 'auto'\n"
        "for isa in ('portable', 'avx512_bf16', 'amx'):\n"
        " os.environ['TENOR_ISA'] = isa\n hardware.describe()\n LSTM(3, 4)(torch.zeros(1, 1, 3))\n print(isa, granted())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {"TENOR_KERNEL": "auto"}, capture_output=True, text=True, check=False)
    assert done.stdout == "torch 0\nportable 0\navx512_bf16 0\namx 1\n", done.stderr


@pytest.mark.skipif("amx" not in ISAS, reason="this CPU has no AMX")
def test_where_the_tile_registers_are_refused_the_path_says_why():
    """Linux refuses them where a signal stack of the process (here 2 KB) has no room for them."""
    program = (
        "import ctypes, os, torch\n"
        "from tenor.cells import LSTM\n"
        "from tenor.cells.hardware import describe\n"
        "class Stack(ctypes.Structure):\n _fields_ = [('at', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]\n"
        "room = ctypes.create_string_buffer(1 << 16)\n"
        "assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(room), 0, 2048)), None) == 0\n"
        "print(LSTM(3, 4).path)\nprint(describe()['engine'])\n"
        "LSTM(3, 4)(torch.zeros(1, 1, 3))\n"
        "os.environ['TENOR_ISA'] = 'amx'\nLSTM(3, 4).path\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TENOR_ISA"} | {"TENOR_KERNEL": "auto"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    why = "a signal stack of this process is too small for its registers"
    path, engine = done.stdout.splitlines()
    assert path.startswith(f"native LSTM, avx512_bf16 (amx is not used: {why}), float32: "), done.stderr
    assert engine.endswith(f"; amx is not used: {why}")
    assert done.stderr.endswith(f"TenorError: TENOR_ISA=amx cannot be had: {why}. Unset TENOR_ISA.\n")


def test_torch_goes_by_the_cpu(monkeypatch):
    monkeypatch.setenv("TENOR_KERNEL", "torch")
    monkeypatch.setenv("TENOR_ISA", "portable")
    cells = [("lstm", 32), ("gru", 32), ("gru", 128)]
    for cpu, wanted in ((True, [torch.bfloat16, torch.float32, torch.bfloat16]), (False, [torch.float32] * 3)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda cpu=cpu: cpu)
        assert [choose_dtype("auto", CPU, ModelConfig(cell=cell, hidden=hidden)) for cell, hidden in cells] == wanted
