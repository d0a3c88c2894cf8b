"""Impact labels → the weights of a filter.

`examples` puts features beside labels, `copying` makes cheap labels without a model, `fitting` trains,
`judging` measures, `classifier` does it all in order, `pages` and `card` tell what came out.
"""
