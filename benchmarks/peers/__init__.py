"""What Tenor is measured against: programs of their own, run by the interpreter in which the other library is installed."""
