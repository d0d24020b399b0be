"""Images painted by rules, without any real image, each labelled by the class whose rule made it.

One file a source. Its `paint(world, label, key, shape)` draws one image: what belongs to the class
comes from (world, label) and `world` from the seed alone, what belongs to the image from key.
"""
