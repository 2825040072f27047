"""Charts: figures from a run's history, drawn by plotext, shown as widgets."""
