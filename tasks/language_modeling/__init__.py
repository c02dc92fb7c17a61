"""Language modeling: continues a text, and says how likely a text is (next-token prediction)."""
