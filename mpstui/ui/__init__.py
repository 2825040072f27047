"""The terminal app: screens and widgets over the runs' logs. It never imports torch."""
