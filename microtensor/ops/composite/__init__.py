"""Functions made of operations, which have no derivative of their own."""
