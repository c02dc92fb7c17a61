"""How fast the tasks train, decode and answer, and in how much memory.

    python -m benchmarks.speed [--quick]

Measured beside the same networks in stock Keras and in PyTorch, each contender in a process of its
own, in turn, round after round.
"""
