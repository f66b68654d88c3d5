"""The machine: processes and devices (mesh.py, which to open first), compiled functions kept on disk (compilation.py),
and the host's memory allocator (allocator.py).

Imports nothing of the other rooms.
"""
