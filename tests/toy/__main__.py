"""Runs the task."""

from nlp_suite.cli import main

if __name__ == "__main__":
    main(__package__)
