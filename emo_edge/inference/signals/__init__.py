"""Signals over the frames of a face: the pulse in the colour of the skin, brief movements in its action units.

NumPy alone; only `videos` reads frames. May import `utils`, `media` and `faces`. Not a medical device.
"""
