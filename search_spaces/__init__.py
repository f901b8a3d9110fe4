"""Search spaces, as YAML files that a user copies and edits."""
