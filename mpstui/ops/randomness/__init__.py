"""What a random op's output must satisfy: value rules per op, and statistics over many calls."""
