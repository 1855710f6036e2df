"""Pictures of results: what ``.plot()`` and ``.movie()`` draw, and how results show themselves.

Functions of a result, which they know by its parts (``u``, ``grid``, ``x``, ...), not by its class.
"""
