"""The integer arithmetic: one file an operation or format. README.md specifies it."""
