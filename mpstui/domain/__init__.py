"""What the program knows, as plain values: no torch, no textual, no files, no clocks."""
