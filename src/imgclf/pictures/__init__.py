"""Pictures that are drawn while training goes on: arrays in, uint8 (height, width, 3) out, in milliseconds.

Pillow and numpy alone. matplotlib, which ``figures`` draws with, takes a hundred times as long.
"""
