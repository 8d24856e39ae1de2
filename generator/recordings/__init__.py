"""Measurements whose rule nobody knows: what they are, and the dataset's statistics of them."""
