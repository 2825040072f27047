"""Everything that the app can do, without the app: arguments to calls, plain lines out."""
