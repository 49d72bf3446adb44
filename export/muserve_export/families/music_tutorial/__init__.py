"""The published baseline of the music family: the dense GAN of many tutorials, which draws one chord a sample.

The music family selects it with `architecture = "dense"`, as its recipe `tutorial` does. Settings and recipes are that
family's.
"""
