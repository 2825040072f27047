"""Runs as one web page to share: a self-contained file, readable on a phone, light and dark."""

from .html import as_html

__all__ = ["as_html"]
