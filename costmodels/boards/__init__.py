"""The boards, a YAML file each, and `python -m costmodels.boards`, which lists them.

`costmodels.board` reads the files. The command lives beside them because a module boards.py could
not stand beside a folder of that name.
"""
