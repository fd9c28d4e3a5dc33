"""Reference implementations, one plain module a chapter."""
