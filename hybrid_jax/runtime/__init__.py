"""The machine: processes and devices (mesh.py, which to open first), compiled functions kept on disk (compilation.py),
the host's memory allocator (allocator.py), and the program's name (program.py).

Imports nothing of the other rooms.
"""
