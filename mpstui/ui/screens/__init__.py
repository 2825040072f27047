"""The four screens and the questions that stand before them."""
