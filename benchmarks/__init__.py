"""What the project is measured by: speed beside stock Keras and PyTorch, quality beside peers."""
