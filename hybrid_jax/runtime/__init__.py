"""The machine: devices (mesh.py, which to open first), how the processes of a run join (processes.py), compiled
functions kept on disk (compilation.py), the host's memory allocator (allocator.py), the program's name (program.py).

Imports nothing of the other rooms.
"""
