"""Data: IDX files, own data sets, the order of batches, and what feeds them to the loop."""
