"""disk: writing our own files, so that a reader never sees half of one and an input is never lost.

locks                 keep other processes out of a folder while this one works in it
atomic_files          write a file, or several together, whole or not at all; report what the disk refused
text_bounds           refuse a text that takes far more memory than its size
json_files            JSON, read strictly and written whole
seals                 marks of what this user wrote on this machine
tensor_files          open any safetensors file, for torch or for NumPy
array_files           files of arrays that ganpatch itself writes and reads again
"""
