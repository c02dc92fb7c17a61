"""Recurrent-network NLP with Keras: layers, one training loop, decoding and export for every task.

Importing the package is quick; its rooms (``layers``, ``training``, ``decoding``, …) import Keras
and TensorFlow, which takes seconds, so import the room you need.
"""

__version__ = "0.1.0"
