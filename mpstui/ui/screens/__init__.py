"""The screens of the modes, and the dialogs over them."""
