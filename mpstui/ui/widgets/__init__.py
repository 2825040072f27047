"""Widgets: each shows one thing and does not depend on the app."""
