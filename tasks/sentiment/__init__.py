"""Sentiment analysis: tells the label of a text, such as positive or negative (many-to-one)."""
