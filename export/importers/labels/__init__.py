"""Small networks of labels to one checkpoint: fer's Keras file, and ONNX graphs such as EmotiEffLib's.

May import `emo_edge.export.importers` and the layers below it.
"""
