"""The recurrences."""

from tenor.cells.layers import GRU, LSTM, RNN
from tenor.cells.stepper import Stepper

__all__ = ["GRU", "LSTM", "RNN", "Stepper"]
