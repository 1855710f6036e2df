"""Random modules of potentials, and edits of them that change what they do, or do not.

Every ingredient is a way in which a number may come into a potential; `written` makes a module of
some of them. ``{v}`` is the number, ``{k}`` tells ingredients of one module apart.
"""

from typing import Any

# name: (text of the module, text of a second module, how the number is read)
INGREDIENTS = {
    "constant": ("A{k} = {v}", "", "A{k}"),
    "list in a dict": ("A{k} = {{'a': [0.0, {v}]}}", "", "A{k}['a'][1]"),
    "set": ("A{k} = {{{v}, 'text', ('a', 'b')}}", "", "[y for y in A{k} if type(y) is float][0]"),
    "array": ("A{k} = np.array([{v}, 1.0])", "", "float(A{k}[0])"),
    "object array": ("A{k} = np.array([{v}, 'text', None], dtype=object)", "", "A{k}[0]"),
    "masked array": ("A{k} = np.ma.array([{v}, 1.0], mask=[False, True])", "", "A{k}[0]"),
    "tensor": ("A{k} = torch.tensor([{v}])", "", "float(A{k})"),
    "long list": ("A{k} = [0.0] * 500 + [{v}]", "", "A{k}[-1]"),
    "number of one's own": ("class N{k}(float):\n    pass\nA{k} = N{k}({v})", "", "float(A{k})"),
    "dataclass": ("@dataclass\nclass D{k}:\n    a: float = {v}\nA{k} = D{k}()", "", "A{k}.a"),
    "default of a dataclass": (
        "@dataclass(frozen=True)\nclass D{k}:\n    a: float = {v}", "", "D{k}().a",
    ),
    "named tuple": (
        "class T{k}(NamedTuple):\n    a: float = 0.0\nA{k} = T{k}({v})", "", "A{k}.a",
    ),
    "enum": ("class E{k}(Enum):\n    A = {v}", "", "E{k}.A.value"),
    "slots": (
        "class S{k}:\n    __slots__ = ('__a',)\n    def __init__(self, a):\n        self.__a = a\n"
        "    def get(self):\n        return self.__a\nA{k} = S{k}({v})", "", "A{k}.get()",
    ),
    "namespace": ("A{k} = types.SimpleNamespace(a={v})", "", "A{k}.a"),
    "helper": ("def h{k}():\n    return {v}", "", "h{k}()"),
    "helper's helper": (
        "def g{k}():\n    return {v}\ndef h{k}():\n    return g{k}()", "", "h{k}()",
    ),
    "helper's constant": ("A{k} = {v}\ndef h{k}():\n    return A{k}", "", "h{k}()"),
    "recursion": (
        "def h{k}(m):\n    return h{k}(m - 1) if m else {v}", "", "h{k}(3)",
    ),
    "each other": (
        "def g{k}(m):\n    return h{k}(m - 1) if m else {v}\ndef h{k}(m):\n    return g{k}(m)",
        "", "h{k}(2)",
    ),
    "lambda": ("h{k} = lambda: {v}", "", "h{k}()"),
    "nested function": (
        "def h{k}():\n    def inner():\n        return {v}\n    return inner()", "", "h{k}()",
    ),
    "constant in a nested function": (
        "A{k} = {v}\ndef h{k}():\n    return [A{k} for _ in range(1)][0]", "", "h{k}()",
    ),
    "closure": (
        "def make{k}(a):\n    def f():\n        return a\n    return f\nh{k} = make{k}({v})",
        "", "h{k}()",
    ),
    "function in a closure": (
        "def make{k}(f):\n    return lambda: f()\nh{k} = make{k}(lambda: {v})", "", "h{k}()",
    ),
    "default": ("def h{k}(a={v}):\n    return a", "", "h{k}()"),
    "default by name": ("def h{k}(*, a={v}):\n    return a", "", "h{k}()"),
    "partial": (
        "def f{k}(a):\n    return a\nh{k} = functools.partial(f{k}, a={v})", "", "h{k}()",
    ),
    "partial of code": (
        "def f{k}(a):\n    return {v} * a\nh{k} = functools.partial(f{k}, 1.0)", "", "h{k}()",
    ),
    "decorated": (
        "def d{k}(f):\n    @functools.wraps(f)\n    def inner():\n        return f() + {v}\n"
        "    return inner\n@d{k}\ndef h{k}():\n    return 0.0", "", "h{k}()",
    ),
    "what is decorated": (
        "def d{k}(f):\n    @functools.wraps(f)\n    def inner():\n        return f()\n"
        "    return inner\n@d{k}\ndef h{k}():\n    return {v}", "", "h{k}()",
    ),
    "decorated by torch": ("@torch.no_grad()\ndef h{k}():\n    return {v}", "", "h{k}()"),
    "cached": ("@functools.lru_cache\ndef h{k}():\n    return {v}", "", "h{k}()"),
    "one function for each type": (
        "@functools.singledispatch\ndef h{k}(a):\n    return 0.0\n"
        "@h{k}.register\ndef _(a: int):\n    return {v}", "", "h{k}(1)",
    ),
    "table of functions": (
        "def f{k}():\n    return {v}\nA{k} = {{'f': f{k}}}", "", "A{k}['f']()",
    ),
    "method": (
        "class C{k}:\n    def get(self):\n        return {v}\nA{k} = C{k}()", "", "A{k}.get()",
    ),
    "state": (
        "class C{k}:\n    def __init__(self, a):\n        self.a = a\n    def get(self):\n"
        "        return self.a\nA{k} = C{k}({v})", "", "A{k}.get()",
    ),
    "class attribute": ("class C{k}:\n    a = {v}\nA{k} = C{k}()", "", "A{k}.a"),
    "method's helper": (
        "def f{k}():\n    return {v}\nclass C{k}:\n    def get(self):\n        return f{k}()\n"
        "A{k} = C{k}()", "", "A{k}.get()",
    ),
    "base class": (
        "class B{k}:\n    def get(self):\n        return {v}\nclass C{k}(B{k}):\n"
        "    def get(self):\n        return super().get()\nA{k} = C{k}()", "", "A{k}.get()",
    ),
    "property": (
        "class C{k}:\n    @property\n    def a(self):\n        return {v}\nA{k} = C{k}()",
        "", "A{k}.a",
    ),
    "cached property": (
        "class C{k}:\n    @functools.cached_property\n    def a(self):\n        return {v}\n"
        "A{k} = C{k}()", "", "A{k}.a",
    ),
    "static method": (
        "class C{k}:\n    @staticmethod\n    def get():\n        return {v}", "", "C{k}.get()",
    ),
    "class method": (
        "class C{k}:\n    a = {v}\n    @classmethod\n    def get(cls):\n        return cls.a",
        "", "C{k}.get()",
    ),
    "bound method": (
        "class C{k}:\n    def get(self):\n        return {v}\nh{k} = C{k}().get", "", "h{k}()",
    ),
    "operator": (
        "class C{k}:\n    def __getitem__(self, i):\n        return {v}\nA{k} = C{k}()",
        "", "A{k}[0]",
    ),
    "class of a class": (
        "class M{k}(type):\n    def get(cls):\n        return {v}\nclass C{k}(metaclass=M{k}):\n"
        "    pass", "", "C{k}.get()",
    ),
    "class made in a function": (
        "def make{k}(a):\n    class C:\n        def get(self):\n            return a\n"
        "    return C()\nA{k} = make{k}({v})", "", "A{k}.get()",
    ),
    "network": (
        "class C{k}(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.w = torch.nn.Parameter(torch.tensor({v}), False)\nA{k} = C{k}()",
        "", "float(A{k}.w)",
    ),
    "polynomial": ("A{k} = np.poly1d([{v}])", "", "A{k}(0.0)"),
    "spline": ("A{k} = CubicSpline([0, 1, 2], [{v}, 1, 2])", "", "float(A{k}(0.0))"),
    "vectorized": ("h{k} = np.vectorize(lambda a: {v} * a)", "", "float(h{k}(1.0))"),
    "compiled by numba": ("@numba.njit\ndef h{k}():\n    return {v}", "", "h{k}()"),
    "deque": ("A{k} = collections.deque([{v}])", "", "A{k}[0]"),
    "ordered": ("A{k} = collections.OrderedDict(a={v})", "", "A{k}['a']"),
    "dict with a default": (
        "A{k} = collections.defaultdict(lambda: {v})", "", "A{k}.default_factory()",
    ),
    "fraction": ("A{k} = fractions.Fraction({v})", "", "float(A{k})"),
    "pattern": ("A{k} = re.compile('a{v}')", "", "float(A{k}.pattern[1:])"),
    "module": ("", "def f{k}():\n    return {v}", "other.f{k}()"),
    "constant of a module": ("", "A{k} = {v}", "other.A{k}"),
    "module's helper": ("", "A{k} = {v}\ndef f{k}():\n    return A{k}", "other.f{k}()"),
    "from a module": ("from OTHER import f{k}", "def f{k}():\n    return {v}", "f{k}()"),
    "import when called": (
        "def h{k}():\n    from OTHER import f{k}\n    return f{k}()",
        "def f{k}():\n    return {v}", "h{k}()",
    ),
    "module imported when called": (
        "def h{k}():\n    import OTHER as m\n    return m.f{k}()",
        "def f{k}():\n    return {v}", "h{k}()",
    ),
    "getattr of a module": (
        "", "A{k} = {v}", "getattr(other, 'A{k}')",
    ),
    "module handed on": (
        "def h{k}(m):\n    return m.A{k}", "A{k} = {v}", "h{k}(other)",
    ),
    "class of a module": (
        "A{k} = other.C{k}()", "class C{k}:\n    def get(self):\n        return {v}", "A{k}.get()",
    ),
    "formatted name": ("A{k} = {v}\nh{k} = lambda: A{k}", "", "(lambda: h{k}())()"),
    "order of a dict": (
        "A{k} = dict(sorted(dict(a={v}, b=1 - {v}).items(), key=lambda i: i[1]))", "",
        "list(A{k}.values())[0] * 0.01 + ord(list(A{k})[0]) * 1e-3",
    ),
    "attribute of a tensor": ("A{k} = torch.ones(1)\nA{k}.a = {v}", "", "A{k}.a"),
    "tensor of one's own": (
        "class C{k}(torch.Tensor):\n    def get(self):\n        return {v}\n"
        "A{k} = torch.ones(1).as_subclass(C{k})", "", "A{k}.get()",
    ),
    "attribute of an array": (
        "A{k} = xr.DataArray([0.0], attrs=dict(a={v}))", "", "A{k}.attrs['a']",
    ),
    "data set": ("A{k} = xr.Dataset(dict(a=('x', [{v}])))", "", "float(A{k}['a'][0])"),
    "what fills a mask": (
        "A{k} = np.ma.array([1.0], mask=[True], fill_value={v})", "", "float(A{k}.filled()[0])",
    ),
    "number put into a library": ("np.pi{k} = {v}", "", "np.pi{k}"),
    "function put into a library": (
        "def f{k}():\n    return {v}\nnp.f{k} = f{k}", "", "np.f{k}()",
    ),
    "method put into a library": (
        "torch.nn.Identity.f{k} = lambda self: {v}\nA{k} = torch.nn.Identity()", "", "A{k}.f{k}()",
    ),
    "number of the builtins": ("builtins.a{k} = {v}", "", "a{k}"),
    "function of the builtins": ("builtins.f{k} = lambda: {v}", "", "f{k}()"),
    "universal function": ("@numba.vectorize\ndef h{k}(a):\n    return a * {v}", "", "h{k}(1.0)"),
    "descriptor": (
        "class D{k}:\n    def __init__(self, a):\n        self.a = a\n"
        "    def __get__(self, owner, cls):\n        return self.a\n"
        "class C{k}:\n    a = D{k}({v})\nA{k} = C{k}()", "", "A{k}.a",
    ),
    "class with an argument": (
        "class B{k}:\n    def __init_subclass__(cls, a):\n        cls.a = a\n"
        "class C{k}(B{k}, a={v}):\n    pass", "", "C{k}.a",
    ),
    "partial method": (
        "class C{k}:\n    def f(self, a):\n        return a\n"
        "    g = functools.partialmethod(f, {v})\nA{k} = C{k}()", "", "A{k}.g()",
    ),
    "getter": ("A{k} = {v}\ng{k} = operator.attrgetter('A{k}')", "A{k} = {v}", "g{k}(other)"),
    "frozen law": ("A{k} = stats.norm(0.0, {v})", "", "float(A{k}.std())"),
    "sparse matrix": ("A{k} = sparse.csr_array([[{v}]])", "", "float(A{k}[0, 0])"),
    "all of a module": ("from OTHER import *", "A{k} = {v}", "A{k}"),
    "module by another name": ("m{k} = [other]", "A{k} = {v}", "m{k}[0].A{k}"),
    "module in a class": ("class C{k}:\n    m = other", "A{k} = {v}", "C{k}.m.A{k}"),
    "potential of the package": (
        "class C{k}(pk.potentials.Quadratic):\n    def get(self):\n        return {v}\n"
        "A{k} = C{k}(1.0)", "", "A{k}.get()",
    ),
}  # fmt: skip
HEAD = """
import builtins
import collections
import fractions
import functools
import operator
import re
import types
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numba
import numpy as np

import torch
import xarray as xr
from scipy import sparse, stats
from scipy.interpolate import CubicSpline

import pdekit as pk

import OTHER as other

"""
FORMS = {
    "function": "def well(x):\n    a = {sum}\n    return a * (x * x).sum(-1)\n",
    "lambda": "well = lambda x: ({sum}) * (x * x).sum(-1)\n",
    "class": (
        "class Well:\n    dim = 1\n    def __call__(self, x):\n        y = (x * x).sum(-1)\n"
        "        return self.a * y\n"
        "    @property\n    def a(self):\n        return {sum}\nwell = Well()\n"
    ),
    "gradient": (
        "class Well:\n    def __call__(self, x):\n        raise ValueError('a slope alone')\n"
        "    def grad(self, x):\n        return 2 * ({sum}) * x\nwell = Well()\n"
    ),
}
# edits that change nothing
NEUTRAL = {
    "nothing": lambda text: text,
    "a comment": lambda text: "# a comment\n\n" + text.replace("\n", "  # more\n", 1),
    "an unused constant": lambda text: text + "\nUNUSED = 3.0\n",
    "an unused function": lambda text: text + "\n\ndef unused(x):\n    return x + 1\n",
    "a docstring": lambda text: '"""A module."""\n' + text,
    "a docstring of the function": lambda text: text.replace(
        "def well(x):\n", 'def well(x):\n    """A well."""\n'
    ),
    "a local name": lambda text: text.replace("(x):\n    a = ", "(x):\n    b = ").replace(
        "return a * (x", "return b * (x"
    ),
    "blank lines": lambda text: text.replace("\ndef ", "\n\n\n\ndef "),
}


def written(names: list[str], values: list[float], form: str) -> Any:
    """Texts of a module and of the one that it imports."""
    ones = [INGREDIENTS[name] for name in names]
    texts = [
        "\n\n".join(
            one[part].format(k=k, v=v) for k, (one, v) in enumerate(zip(ones, values, strict=True))
        )
        for part in (0, 1)
    ]
    total = " + ".join(f"({one[2].format(k=k)})" for k, one in enumerate(ones))
    return HEAD + texts[0] + "\n\n" + FORMS[form].format(sum=total), HEAD_OTHER + texts[1] + "\n"


HEAD_OTHER = "import numpy as np\n\n"
