"""Commands that measure signals over a video's frames: ``emo-edge pulse``.

May import every layer of the device.
"""
