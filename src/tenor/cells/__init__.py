"""The recurrences."""

from tenor.cells.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN"]
