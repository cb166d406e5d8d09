"""The rows of the table: each file measures some, and leaves frozen results as plain values."""
