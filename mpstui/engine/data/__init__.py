"""Data: IDX files read and checked, the order of batches, and the two pipelines that feed the loop."""
