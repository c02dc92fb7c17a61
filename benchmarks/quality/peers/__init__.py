"""Models of others that the suite's are compared with, on the same data and tokens."""
