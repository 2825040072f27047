"""Recording: the user's own training code, unchanged, observed through hooks in torch."""
