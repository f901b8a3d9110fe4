"""The files of an export bundle: reading them safely, and the manifest that lists them."""
