"""The command line: all of the app's functions, with plain lines as output."""
