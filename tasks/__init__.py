"""The applications: each folder is one task, found by its name and independent of the others."""
