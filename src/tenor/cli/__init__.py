"""The command line: parses and prints, nothing else."""

from tenor.cli.app import app, main

__all__ = ["app", "main"]
