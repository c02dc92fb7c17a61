"""A toy task: tells questions from statements. It is the shortest complete task there is."""
