"""Tiny real networks, trained on the digits, that decide the defaults where exact mixtures could mislead."""
