"""One profile for hypothesis: the same examples on every machine, no deadline on a busy one."""

from hypothesis import settings

settings.register_profile("house", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("house")
