"""Everything that checks: assembles the notebooks, proves the checks, grades, and builds the book."""
