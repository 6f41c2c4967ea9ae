"""Answers that a language model writes word by word: for one tab, or for all tabs of a user."""
