"""Renders runs as a self-contained web page to share, for phones too, in light and dark mode."""

from .html import as_html

__all__ = ["as_html"]
