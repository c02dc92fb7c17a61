"""Machine translation: writes a text in another language (many-to-many, encoder-decoder)."""
