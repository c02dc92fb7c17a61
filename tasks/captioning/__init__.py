"""Image captioning: says in words what an image shows (one-to-many)."""
