"""Face detection: the protocol, Haar cascades, YuNet, MTCNN, fixed boxes. Tracking belongs here.

May import `emo_edge.media`, `emo_edge.machine` and the layers below them; not `emo_edge.assets`.
"""
