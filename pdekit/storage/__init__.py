"""Results in files of netCDF, by xarray: ``result.save(path)`` and ``pk.load(path)``.

A file has the fields as variables over their coordinates, for any program that reads netCDF, and
in its attributes what they are, in words; besides, the values of pdekit that the result refers to
(equation, grid, scheme, law, ...), by class and parameters. Nothing in it is executed on loading:
only values of pdekit are made, and functions of users are not among them (`storage.functions`).
"""
