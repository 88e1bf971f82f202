"""Viewers: where a person looks at a dataset and at what a network made of it."""
