"""The form of a run's settings."""

from .form import ConfigForm as ConfigForm
