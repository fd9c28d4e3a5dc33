"""The attack corpus: hostile, broken and merely odd submissions, each with what the grader must make of it."""
