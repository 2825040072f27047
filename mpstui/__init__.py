"""mpstui: is this machine set up to train on its GPU, how fast is it, and is it correct?"""

__version__ = "0.1.0"
