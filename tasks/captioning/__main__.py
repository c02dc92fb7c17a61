"""Runs the task: `python -m tasks.captioning --help`."""

from nlp_suite.cli import main

if __name__ == "__main__":
    main(__package__)
