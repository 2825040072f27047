"""Data: IDX files, the order of batches, and the two pipelines that feed the loop."""
