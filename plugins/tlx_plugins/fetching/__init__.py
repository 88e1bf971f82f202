"""Fetching images from addresses, when the user asks for it."""
