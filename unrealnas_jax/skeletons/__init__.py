"""What stands around the cells of a supernet: a file for each way to put them together.

init(draw, shape) -> (params, stats, channels of the features)
apply(shape, mode, params, stats, weights, images, dropout) -> (features [B, H, W, C], seen)
edges(space, params) -> (kind, rows, stride, channels, {op: layers}) for each group of equal edges

shape: supernet.Shape; mode: layers.Mode; weights: {kind of cell: [E, O]}; dropout: None, or
(key, rate) for shape.skip_dropout.
"""
