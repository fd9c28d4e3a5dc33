"""For each exercise: wrong implementations that must fail, and other right ones that must pass."""
