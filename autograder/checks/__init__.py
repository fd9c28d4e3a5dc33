"""The checks of the exercises, visible and hidden, one module a chapter."""
