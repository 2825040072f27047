"""State behind the screens. Nothing here imports Textual."""
