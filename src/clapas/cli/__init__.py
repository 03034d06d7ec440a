"""The command line, a file for each group of verbs. No logic; a layer is imported only when its verb is asked for."""

from clapas.cli.command_line import build_parser, main, run

__all__ = ["build_parser", "main", "run"]
