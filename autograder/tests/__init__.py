"""Tests of the machinery, the toolkit and the built book."""
